"""What a file holds as a label, a language or a word, and what it is read as."""

from decimal import Decimal
from typing import Any

import datasets
import pyarrow as pa
import pytest
from raykd.data.prepare.columns import TableColumns

NAN = float("nan")


def _columns(features: datasets.Features | None = None, **columns: Any) -> TableColumns:
    return TableColumns(pa.table(columns), features=features or {})


def _names(values: Any, kind: pa.DataType | None = None) -> list[str | None]:
    return _columns(label=pa.array(values, kind, from_pandas=False)).strings("label")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 0, None], pa.int64()),
        ([1, 0, -100], pa.int8()),
        ([1.0, 0.0, NAN], pa.float64()),
        ([1.0, 0.0, None], pa.float32()),
        ([1.0, 0.0, -100.0], pa.float64()),
        ([Decimal("1.00"), Decimal("0.00"), None], pa.decimal128(5, 2)),
        (["1", "0", None], pa.string()),
        ([" 1", "0\n", " "], pa.large_string()),
        (["1", "0", ""], pa.dictionary(pa.int8(), pa.string())),
        (["1", "0", "-100"], pa.string_view()),
        (["1", "0", "-100.0"], pa.string()),
        ([b"1", b"0", b""], pa.binary()),
        ([b"1", b"0", None], pa.large_binary()),
    ],
)
def test_a_class_has_one_name_however_it_is_stored(values: Any, kind: pa.DataType) -> None:
    assert _names(values, kind) == ["1", "0", None]


def test_other_values_are_named_as_they_are_written() -> None:
    assert _names([0.5, -1.0, float("inf")]) == ["0.5", "-1", None]
    assert _names([True, False, None]) == ["true", "false", None]
    assert _names(["NA", "None", "nan", "1.0.0", "007"]) == ["NA", "None", "nan", "1.0.0", "007"]
    assert _names(["1.0", "2.10", "-0.0"]) == ["1.0", "2.10", "-0.0"]


@pytest.mark.parametrize(
    "text", [" pos", "pos ", "pos\n", "\u00a0pos", "\ufeffpos", "\u200bpos\t"]
)
def test_blanks_around_a_name_are_no_part_of_it_and_are_noted(text: str) -> None:
    columns = _columns(label=["pos", text], tags=[["pos"], ["neg", text]])
    assert columns.strings("label") == ["pos", "pos"]
    assert columns.trimmed == {1}
    columns = _columns(tags=[["pos"], ["neg", text]])
    assert columns.lists("tags") == [["pos"], ["neg", "pos"]]
    assert columns.trimmed == {1}


def test_bytes_that_are_no_utf_8_become_replacement_characters() -> None:
    bad = pa.array([b"x\xff"])
    columns = _columns(
        label=bad, text=bad.cast(pa.string(), safe=False), words=pa.array([[b"\xff"]])
    )
    assert columns.strings("label") == ["x\ufffd"]
    assert columns.texts("text") == ["x\ufffd"]
    assert columns.words("words") == [["\ufffd"]]


@pytest.mark.parametrize("kind", [pa.string(), pa.binary(), pa.large_binary(), pa.string_view()])
@pytest.mark.parametrize("lists", [pa.list_, pa.large_list])
def test_words_and_their_labels_are_read_from_lists_of_any_text(
    kind: pa.DataType, lists: Any
) -> None:
    words = pa.array([["a", " b "], None]).cast(lists(kind))
    columns = _columns(words=words, labels=words)
    assert columns.words("words") == [["a", " b "], None]
    assert columns.lists("labels") == [["a", "b"], None]


def test_labels_of_words_may_be_missing_one_by_one() -> None:
    columns = _columns(ids=[[1, -100, None], None], shares=[[1.0, NAN, 0.0], None])
    assert columns.lists("ids") == [["1", None, None], None]
    assert columns.lists("shares") == [["1", None, "0"], None]


def test_the_numbers_of_a_class_label_are_its_names() -> None:
    label = datasets.ClassLabel(names=["yes", "no "])
    features = datasets.Features({"label": label, "tags": datasets.List(label)})
    columns = _columns(features, label=[1, 0, -1, -100, 7, None], tags=[[0, -1]] * 6)
    assert columns.strings("label") == ["no", "yes", None, None, None, None]
    assert columns.lists("tags")[0] == ["yes", None]
    assert columns.class_names("label") == columns.class_names("tags") == ("yes", "no")
    assert _columns(label=["yes"]).class_names("label") is None


@pytest.mark.parametrize("names", [["a", "a "], ["a", " "], ["a", "-100"]])
def test_class_names_that_are_no_different_names_are_refused(names: list[str]) -> None:
    features = datasets.Features({"label": datasets.ClassLabel(names=names)})
    with pytest.raises(ValueError, match=r"column 'label': its class names \['a', .* are not all"):
        _columns(features, label=[0]).strings("label")


@pytest.mark.parametrize("value", [["a"], {"a": 1}])
def test_what_cannot_be_a_name_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"column 'label' holds .*'?a'?.*, which names no class"):
        _columns(label=[value]).strings("label")


def test_numbers_are_no_words() -> None:
    with pytest.raises(
        ValueError, match=r"column 'words' holds list<.*int64>, not lists of words"
    ):
        _columns(words=[[1, 2]]).words("words")
