from pathlib import Path

import pytest
from raykd.config.schema.prepare import ColumnOptions
from raykd.data.prepare.readers import delimited
from raykd.errors import DataError

from tests.unit.data.prepare.reading import faults, labelled, texts


def _file(directory: Path, content: str | bytes, name: str = "a.csv") -> Path:
    path = directory / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "value",
    ["NA", "null", "None", "nan", "true", "007", "1.0", "1e5", " padded ", "2020-01-01", "inf"],
)
def test_every_value_is_text_as_it_is_written(tmp_path: Path, value: str) -> None:
    assert texts(_file(tmp_path, f"text\n{value}\n")) == [value]


def test_marks_are_text_in_tsv_files(tmp_path: Path) -> None:
    content = 'text\tlabel\n"He said\tpos\nfine\tneg\n"all"\tneg\nlast" one\tpos\n'
    assert labelled(_file(tmp_path, content, "a.tsv")) == [
        ('"He said', "pos"),
        ("fine", "neg"),
        ('"all"', "neg"),
        ('last" one', "pos"),
    ]


def test_a_stated_dialect_is_the_one_that_is_used(tmp_path: Path) -> None:
    quoted = _file(tmp_path, 'text\tlabel\n"a\tb"\tx\n', "a.tsv")
    assert labelled(quoted, quoting="minimal") == [("a\tb", "x")]
    assert labelled(_file(tmp_path, "text;label\na,b;x\n"), delimiter=";") == [("a,b", "x")]
    plain = _file(tmp_path, 'text,label\n"a,x\n')
    assert labelled(plain, quoting="none") == [('"a', "x")]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_ends_of_lines_are_of_any_kind_and_kept_in_fields(tmp_path: Path, newline: str) -> None:
    lines = ["text,label", "one,x", "", '"two', 'lines","say ""so"""', "last,y"]
    path = _file(tmp_path, newline.join(lines))
    assert labelled(path) == [("one", "x"), (f"two{newline}lines", 'say "so"'), ("last", "y")]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("few", "1 fields, not 2 as in the first line"),
        ("too,many,fields", "3 fields, not 2 as in the first line"),
        ('"open,x', "no CSV record"),
        ('"closed" early,x', "no CSV record: ',' expected after '\"'"),
        ('"open\nover,two', "no CSV record"),
    ],
)
def test_a_wrong_row_costs_its_first_line_alone(tmp_path: Path, row: str, reason: str) -> None:
    path = _file(tmp_path, f'text,label\n"good",x\n{row}\nnext,y\n"last",z\n')
    found = labelled(path)
    assert [label for _, label in found if label in ("x", "y", "z")] == ["x", "y", "z"]
    assert {line: reason in why for line, why in faults(path).items()} == {3: True}


def test_an_open_mark_does_not_hold_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delimited, "_LONGEST_RECORD", 100)
    path = _file(tmp_path, 'text,label\n"open,x\n' + "good,y\n" * 500)
    assert labelled(path) == [("good", "y")] * 500
    assert list(faults(path)) == [2]


def test_a_field_of_any_length_is_read(tmp_path: Path) -> None:
    assert texts(_file(tmp_path, f"text\n{'x' * 200_000}\n")) == ["x" * 200_000]


@pytest.mark.parametrize(
    "header", [",text,label", '\ufeff"text","label"', "\ufefftext,label", "u,u,text,label"]
)
def test_the_header_is_read_like_any_record(tmp_path: Path, header: str) -> None:
    unused = "0," * (header.count(",") - 1)
    assert labelled(_file(tmp_path, f"{header}\n{unused}a,x\n")) == [("a", "x")]


def test_a_column_that_is_read_may_not_be_there_twice(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.csv: has 2 columns 'text'; rename all but one"):
        texts(_file(tmp_path, "text,text\na,b\n"))


def test_another_dialect_is_suspected_where_a_column_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no column 'text', it has text;label; --delimiter"):
        texts(_file(tmp_path, "text;label\na;b\n"))


def test_null_characters_cut_nothing_off(tmp_path: Path) -> None:
    assert texts(_file(tmp_path, "text\na\0b\n")) == ["a\0b"]


def test_lists_are_refused(tmp_path: Path) -> None:
    columns = ColumnOptions(words="w", word_labels="l")
    with pytest.raises(DataError, match="column 'w' holds text, not lists of words"):
        faults(_file(tmp_path, "w,l\na,b\n"), columns)
