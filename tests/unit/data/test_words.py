"""Every kind of tokenizer reads a word as inside a text, with its label on its first token."""

from collections.abc import Sequence

import pytest
from raykd.data.manifest import NO_LABEL
from raykd.data.words import labels_on_tokens, running_text
from tokenizers import Encoding, Tokenizer, models, normalizers, pre_tokenizers, processors

UNKNOWN = "<unk>"
WORDS = ["Anna", "lives", "in", "Paris"]
LETTERS = "Analivesprx\u6211"
MARK = "\u2581"
SPACE = "\u0120"


def _bpe(mark: str) -> Tokenizer:
    """Return a tokenizer that has the mark, the words with the mark before them, and letters."""
    pieces = dict.fromkeys([UNKNOWN, mark, *LETTERS])
    merges = []
    for word in WORDS:
        left = mark
        for letter in word:
            pieces |= {letter: None, left + letter: None}
            if (left, letter) not in merges:
                merges.append((left, letter))
            left += letter
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    return Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token=UNKNOWN, fuse_unk=True))


def _llama_2() -> Tokenizer:
    tokenizer = _bpe(MARK)
    marks = [normalizers.Prepend(MARK), normalizers.Replace(" ", MARK)]
    tokenizer.normalizer = normalizers.Sequence(marks)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 100), ("</s>", 101)]
    )
    return tokenizer


def _metaspace(scheme: str) -> Tokenizer:
    tokenizer = _bpe(MARK)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    return tokenizer


def _xlm_r() -> Tokenizer:
    pieces = [(UNKNOWN, 0.0), (MARK, -3.0), *((MARK + word, -4.0) for word in WORDS)]
    pieces += [(letter, -8.0) for letter in dict.fromkeys(LETTERS)]
    tokenizer = Tokenizer(models.Unigram(pieces, 0))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    return tokenizer


def _byte_level(*, has_prefix: bool) -> Tokenizer:
    tokenizer = _bpe(SPACE)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=has_prefix)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=has_prefix)
    return tokenizer


def _bert() -> Tokenizer:
    pieces = [UNKNOWN, "anna", "live", "##s", "in", "paris", "\u6211"]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


KINDS = {
    "llama 2": _llama_2(),
    "metaspace first": _metaspace("first"),
    "metaspace always": _metaspace("always"),
    "metaspace never": _metaspace("never"),
    "xlm-r": _xlm_r(),
    "gpt-2": _byte_level(has_prefix=False),
    "roberta": _byte_level(has_prefix=True),
    "bert": _bert(),
}

each_kind = pytest.mark.parametrize("tokenizer", KINDS.values(), ids=KINDS)


def _labelled(tokenizer: Tokenizer, words: Sequence[str]) -> tuple[Encoding, dict[int, int]]:
    """Return the encoding of words, and for each word that has one the token with its label."""
    encoding = tokenizer.encode(running_text(words))
    labels = labels_on_tokens(words, range(len(words)), encoding)
    assert len(labels) == len(encoding.ids)
    placed = {label: index for index, label in enumerate(labels) if label != NO_LABEL}
    assert len(placed) == sum(label != NO_LABEL for label in labels)
    return encoding, placed


@each_kind
def test_words_are_the_tokens_of_their_text(tokenizer: Tokenizer) -> None:
    encoding, placed = _labelled(tokenizer, WORDS)
    assert encoding.ids == tokenizer.encode("Anna lives in Paris").ids
    assert list(placed) == [0, 1, 2, 3]
    for word, token in placed.items():
        begin, _ = encoding.offsets[token]
        found = encoding.tokens[token].strip(MARK + SPACE).lower()
        assert found
        assert WORDS[word].lower().startswith(found)
        assert "Anna lives in Paris"[begin:].lstrip().startswith(WORDS[word])


@each_kind
@pytest.mark.parametrize("words", [["\u6211", "Anna", "\u6211"], ["x", "in", "xx"]])
def test_no_label_is_on_a_bare_mark_before_a_word(tokenizer: Tokenizer, words: list[str]) -> None:
    encoding, placed = _labelled(tokenizer, words)
    assert list(placed) == [0, 1, 2]
    assert all(encoding.tokens[token].strip(MARK + SPACE) for token in placed.values())


@each_kind
def test_blank_words_have_no_token_and_change_no_other(tokenizer: Tokenizer) -> None:
    encoding, placed = _labelled(tokenizer, ["", "Anna", " \u3000", " lives\n", "in", "Paris", ""])
    expected, without = _labelled(tokenizer, WORDS)
    assert encoding.ids == expected.ids
    assert list(placed) == [1, 3, 4, 5]
    assert list(placed.values()) == list(without.values())


@each_kind
def test_words_that_were_cut_off_have_no_token(tokenizer: Tokenizer) -> None:
    _, placed = _labelled(tokenizer, WORDS)
    encoding = tokenizer.encode("Anna lives in Paris")
    encoding.truncate(placed[2])
    labels = labels_on_tokens(WORDS, range(4), encoding)
    assert [label for label in labels if label != NO_LABEL] == [0, 1]


def test_a_word_that_the_tokenizer_leaves_out_has_no_token() -> None:
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1}, UNKNOWN))
    tokenizer.normalizer = normalizers.Replace("-", "")
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    assert list(_labelled(tokenizer, ["a", "-", "b"])[1]) == [0, 2]


def test_a_word_that_the_tokenizer_joins_with_the_one_before_has_no_token() -> None:
    tokenizer = Tokenizer(models.WordLevel({"a b": 0, " c": 1}, UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" c", "isolated")
    assert list(_labelled(tokenizer, ["a", "b", "c"])[1]) == [0, 2]


def test_a_word_of_several_parts_has_one_label() -> None:
    _, placed = _labelled(KINDS["bert"], ["Anna lives", "in", "Paris-in"])
    assert list(placed) == [0, 1, 2]
