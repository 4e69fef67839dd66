"""Train a tokenizer: the same texts in the same order always give the same tokenizer."""

import re
from collections import Counter
from collections.abc import Iterable

from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from raykd.config.schema.prepare import TokenizerOptions
from raykd.data.prepare.raw_rows import hash_share
from raykd.data.tokenizers import special_tokens_from

SAMPLE_CHARACTERS = 32 << 20
"""Text that a tokenizer learns from, at most."""

_LONGEST_TEXT = 1 << 20
"""Characters of one text that are looked at."""

_LONG_WORD = re.compile(r"\S{1000}")
"""What is longer is cut: trainers take time in the square of a word's length."""

_COVERAGE = 0.9995
"""Share of the characters of the texts that get a token of their own (as SentencePiece)."""


def evenly_sampled(texts: Iterable[str], *, limit: int = SAMPLE_CHARACTERS) -> list[str]:
    """Return all texts, or a sample of them of between a half and all of ``limit`` characters.

    A text is kept when its hash lies below a bound that is halved whenever the sample
    becomes too large: one pass, bounded memory, the same sample every time.
    """
    kept: list[str] = []
    size, bound = 0, 1.0
    for text in (_LONG_WORD.sub(r"\g<0> ", text[:_LONGEST_TEXT]) for text in texts):
        if _sample_share(text) >= bound:
            continue
        kept.append(text)
        size += len(kept[-1])
        while size > limit and len(kept) > 1:
            bound /= 2
            kept = [text for text in kept if _sample_share(text) < bound]
            size = sum(map(len, kept))
    return kept


def train_tokenizer(
    texts: list[str], options: TokenizerOptions, *, max_length: int
) -> PreTrainedTokenizerFast:
    """Train a WordPiece tokenizer as BERT's, or a byte-level BPE tokenizer as RoBERTa's."""
    if options.kind == "wordpiece":
        backend = _wordpiece(texts, options)
    else:
        backend = _byte_level_bpe(texts, options)
    special = special_tokens_from(backend.get_vocab())
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=max_length,
        model_input_names=inputs if options.kind == "wordpiece" else [inputs[0], inputs[2]],
        **special,
    )


def _sample_share(text: str) -> float:
    # Independent of the hash that splits off the validation rows.
    return hash_share(f"sample {text}")


def _wordpiece(texts: list[str], options: TokenizerOptions) -> Tokenizer:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    normalizer = normalizers.BertNormalizer(lowercase=options.lowercase)
    alphabet = _alphabet(
        (normalizer.normalize_str(text) for text in texts), limit=options.vocab_size // 3
    )
    # The trainer numbers the inner characters (##a) in the order of a hash map, which differs
    # from process to process and decides between equally frequent pairs (tokenizers issue 1794).
    # As special tokens they have their numbers before it starts; the tokenizer below knows
    # nothing of that.
    inner = [f"##{character}" for character in alphabet]
    trainer = trainers.WordPieceTrainer(
        vocab_size=options.vocab_size,
        special_tokens=[*special, *inner],
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    trained = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106 - a token of text
    trained.normalizer = normalizer
    trained.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trained.train_from_iterator(texts, trainer)
    vocabulary = trained.get_vocab()
    backend = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token="[UNK]"))  # noqa: S106
    backend.normalizer = normalizer
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    backend.add_special_tokens(special)
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")],
    )
    return backend


def _byte_level_bpe(texts: list[str], options: TokenizerOptions) -> Tokenizer:
    special = ["<pad>", "<s>", "</s>", "<mask>"]
    backend = Tokenizer(models.BPE())
    backend.normalizer = normalizers.Lowercase() if options.lowercase else None
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=options.vocab_size,
        special_tokens=special,
        # All 256 bytes, so that no text is unknown; sorted, for alphabet() lists a hash set.
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[(token, backend.token_to_id(token)) for token in ("<s>", "</s>")],
    )
    return backend


def _alphabet(texts: Iterable[str], *, limit: int) -> list[str]:
    """Return the most frequent characters that make up nearly all of the texts, sorted."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    for space in [character for character in counts if character.isspace()]:
        del counts[space]
    missing = (1 - _COVERAGE) * counts.total()
    kept: list[str] = []
    by_frequency = sorted(counts, key=lambda character: (-counts[character], character))
    remaining = counts.total()
    for character in by_frequency[:limit]:
        if remaining <= missing:
            break
        kept.append(character)
        remaining -= counts[character]
    return sorted(kept)
