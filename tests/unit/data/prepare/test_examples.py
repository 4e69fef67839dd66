from dataclasses import replace
from pathlib import Path

import pytest
from raykd.data.prepare.examples import Encoder, Recipe
from raykd.data.prepare.raw_rows import RawRows
from raykd.data.tokenizers import load_tokenizer
from tokenizers import Tokenizer, models, pre_tokenizers

VOCABULARY = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "new",
    "york",
    "##er",
    "is",
    "##s",
    "big",
]
NEW, YORK, ER, IS, S, BIG = range(5, 11)
CLS, SEP = 2, 3


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    directory = tmp_path_factory.mktemp("tokenizer")
    (directory / "vocab.txt").write_text("\n".join(VOCABULARY))
    load_tokenizer(str(directory / "vocab.txt")).save_pretrained(directory)
    return Recipe(
        tokenizer_uri=str(directory / "tokenizer.json"),
        max_length=8,
        truncation_side="right",
        packs=False,
        has_types=False,
        labels=("O", "LOC"),
        label_type="class",
        validation_fraction=0.0,
        language="und",
    )


def _rows(texts: list[str | None], **columns: object) -> RawRows:
    numbers = range(11, 11 + len(texts))
    rows = RawRows(split="train", uri="a.txt", unit="line", numbers=numbers, texts=texts)
    return replace(rows, **columns)  # type: ignore[arg-type]  # several types


def test_texts_get_special_tokens_and_are_truncated(recipe: Recipe) -> None:
    examples = Encoder(recipe).encode([_rows(["New York", "big " * 6, "big " * 7])])
    assert examples.table["input_ids"].to_pylist() == [
        [CLS, NEW, YORK, SEP],
        [CLS, *[BIG] * 6, SEP],
        [CLS, *[BIG] * 6, SEP],
    ]
    assert examples.truncated == 1
    assert examples.table["token_type_ids"].to_pylist() == [None] * 3


def test_texts_are_cut_where_the_tokenizer_cuts_them(recipe: Recipe) -> None:
    rows = [_rows(["new york " + "big " * 5])]
    examples = Encoder(replace(recipe, truncation_side="left")).encode(rows)
    assert examples.table["input_ids"].to_pylist() == [[CLS, YORK, *[BIG] * 5, SEP]]


def test_pairs_get_segments_where_the_tokenizer_has_them(recipe: Recipe) -> None:
    rows = _rows(["new"], pairs=["big york"])
    examples = Encoder(replace(recipe, has_types=True)).encode([rows])
    assert examples.table["input_ids"].to_pylist() == [[CLS, NEW, SEP, BIG, YORK, SEP]]
    assert examples.table["token_type_ids"].to_pylist() == [[0, 0, 0, 1, 1, 1]]


def test_the_label_of_a_word_stands_on_its_first_token(recipe: Recipe) -> None:
    rows = _rows(
        ["New Yorkers is"], words=[["New", "Yorkers", "is"]], word_labels=[["LOC", "LOC", "O"]]
    )
    examples = Encoder(recipe).encode([rows])
    assert examples.table["input_ids"].to_pylist() == [[CLS, NEW, YORK, ER, S, IS, SEP]]
    assert examples.table["word_labels"].to_pylist() == [[-100, 1, 1, -100, -100, 0, -100]]


def test_equal_words_in_a_row_keep_a_label_each(recipe: Recipe) -> None:
    rows = _rows(["big big"], words=[["big", "big"]], word_labels=[["O", "LOC"]])
    examples = Encoder(recipe).encode([rows])
    assert examples.table["word_labels"].to_pylist() == [[-100, 0, 1, -100]]


def test_byte_level_tokenizers_see_words_as_inside_a_sentence(
    recipe: Recipe, tmp_path: Path
) -> None:
    vocabulary = {"a": 0, "b": 1, "\u0120": 2, "\u0120b": 3}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[("\u0120", "b")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    words = _rows(["a b b"], words=[["a", "b", "b"]], word_labels=[["O", "O", "LOC"]])
    byte_level = replace(recipe, tokenizer_uri=str(tmp_path / "tokenizer.json"))
    examples = Encoder(byte_level).encode([words])
    assert examples.table["input_ids"].to_pylist() == [tokenizer.encode("a b b").ids]
    assert examples.table["word_labels"].to_pylist() == [[0, 0, 1]]


def test_documents_to_pack_have_no_special_tokens_and_no_limit(recipe: Recipe) -> None:
    examples = Encoder(replace(recipe, packs=True)).encode([_rows(["big " * 20])])
    assert examples.table["input_ids"].to_pylist() == [[BIG] * 20]
    assert examples.truncated == 0


def test_every_unfit_row_is_counted_by_reason_with_the_first_place(recipe: Recipe) -> None:
    texts: list[str | None] = ["new", None, "  ", "b\ufffdd", "big", None, "is", "\u200b", "york"]
    labels: list[str | None] = ["O", "O", "O", "O", "X", "O", None, "O", "LOC"]
    examples = Encoder(recipe).encode([_rows(texts, labels=labels)])
    assert examples.table["label"].to_pylist() == [0, 1]
    assert {one.what: (one.count, one.number) for one in examples.rejections} == {
        "missing text": (2, 12),
        "empty text": (1, 13),
        "undecodable bytes": (1, 14),
        "label outside the set": (1, 15),
        "missing label": (1, 17),
        "text without a single token": (1, 18),
    }


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (["O"], "words and labels of different lengths"),
        (["O", "X"], "label outside the set"),
        ([None, None], "missing label"),
        (["O", "\ufffd"], "undecodable bytes"),
        (None, "missing label"),
    ],
)
def test_unfit_word_labels_are_refused(
    recipe: Recipe, labels: list[str | None] | None, reason: str
) -> None:
    rows = _rows(["new york"], words=[["new", "york"]], word_labels=[labels])
    examples = Encoder(recipe).encode([rows])
    assert examples.table.num_rows == 0
    assert [one.what for one in examples.rejections] == [reason]


def test_a_word_without_a_label_is_not_scored_and_counted(recipe: Recipe) -> None:
    rows = _rows(
        ["new york is", "big"],
        words=[["new", "york", "is"], ["big"]],
        word_labels=[["LOC", None, None], ["O"]],
    )
    examples = Encoder(recipe).encode([rows])
    assert examples.table["word_labels"].to_pylist() == [
        [-100, 1, -100, -100, -100],
        [-100, 0, -100],
    ]
    (remark,) = examples.remarks
    assert (remark.what, remark.count, remark.number) == (
        "words without a label, not scored",
        2,
        11,
    )


def test_a_word_without_a_token_is_counted_unless_it_was_cut_off(recipe: Recipe) -> None:
    words = [["big", "\u200b", "is"], ["big"] * 9]
    rows = _rows(
        [" ".join(row) for row in words],
        words=words,
        word_labels=[["O"] * len(row) for row in words],
    )
    examples = Encoder(recipe).encode([rows])
    assert examples.table["word_labels"].to_pylist() == [
        [-100, 0, 0, -100],
        [-100, *[0] * 6, -100],
    ]
    (remark,) = examples.remarks
    assert (remark.what, remark.count) == ("words without a token of their own, not scored", 1)
    assert examples.truncated == 1


def test_what_rows_lack_is_added_up_over_pieces(recipe: Recipe) -> None:
    rows = _rows(["new", "big"], languages=["en", None], trimmed=frozenset({0, 1}))
    examples = Encoder(recipe).encode([rows, rows])
    assert {one.what: (one.count, one.number) for one in examples.remarks} == {
        "rows with blanks around a label or language, cut off": (4, 11),
        "rows without a language, taken for und": (2, 12),
    }


def test_a_language_that_is_no_text_is_refused(recipe: Recipe) -> None:
    examples = Encoder(recipe).encode([_rows(["new"], languages=["\ufffd"])])
    assert [one.what for one in examples.rejections] == ["undecodable bytes"]


def test_a_missing_language_is_the_default(recipe: Recipe) -> None:
    rows = _rows(["new", "big"], languages=["en", None])
    table = Encoder(replace(recipe, language="xx")).encode([rows]).table
    assert table["language"].to_pylist() == ["en", "xx"]


def test_equal_texts_fall_into_the_same_split(recipe: Recipe) -> None:
    half = replace(recipe, validation_fraction=0.5)
    texts: list[str | None] = [f"new {'big ' * (count % 40)}" for count in range(80)]
    splits = Encoder(half).encode([_rows(texts)]).table["split"].to_pylist()
    assert splits[:40] == splits[40:]
    assert {"train", "validation"} == set(splits)
