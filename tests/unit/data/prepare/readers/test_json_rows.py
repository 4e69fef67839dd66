import json
from pathlib import Path

import pytest
from raykd.config.schema.prepare import ColumnOptions
from raykd.data.prepare.readers import json_rows
from raykd.errors import DataError

from tests.unit.data.prepare.reading import LABELLED, faults, labelled, read, texts

WORDS = ColumnOptions(words="w", word_labels="l")


def _file(directory: Path, content: str | bytes, name: str = "a.jsonl") -> Path:
    path = directory / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("written", "label"),
    [
        ("7", "7"),
        ("1.0", "1.0"),
        ("1e5", "1e5"),
        ("-0", "-0"),
        ("12345678901234567890123", "12345678901234567890123"),
        ("1" * 5000, "1" * 5000),
        ("true", "true"),
        ('"007"', "007"),
        ('"NA"', "NA"),
        ('"null"', "null"),
        ("null", None),
        ("NaN", None),
    ],
)
def test_a_label_is_what_is_written(tmp_path: Path, written: str, label: str | None) -> None:
    path = _file(tmp_path, f'{{"text": "a", "label": {written}}}')
    assert labelled(path) == [("a", label)]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('{"text": 12345}', "column 'text' holds a number, not text"),
        ('{"text": true}', "column 'text' holds true or false, not text"),
        ('{"text": ["a"]}', "column 'text' holds a list, not text"),
        ('{"text": "a", "label": {"x": 1}}', "holds an object, not a label or a language"),
        ('{"text": "a", "label": [1]}', "holds a list, not a label or a language"),
        ('{"text": "a", "text": "b"}', "JSON that has 'text' twice"),
        ('{"text": "a"', "no JSON: Expecting ',' delimiter"),
        ('{"text": "a"} x', "no JSON: Extra data"),
        ('{"text": ' + "[" * 100_000, "JSON that is nested too deeply"),
        ("[1]", "JSON that is no object"),
        ("null", "JSON that is no object"),
    ],
)
def test_a_wrong_row_is_one_fault_with_its_line(tmp_path: Path, row: str, reason: str) -> None:
    good = json.dumps({"text": "good", "label": "x"})
    path = _file(tmp_path, f"{good}\n\n{row}\n{good}")
    assert labelled(path) == [("good", "x")] * 2
    assert {line: reason in why for line, why in faults(path).items()} == {3: True}


def test_what_comes_late_decides_nothing_about_what_was_before(tmp_path: Path) -> None:
    early = {"text": "x" * 200, "label": None, "unused": 1}
    late = {"text": "late", "label": "b", "unused": {"a": [None]}, "new": 1}
    path = _file(tmp_path, "\n".join(map(json.dumps, [*[early] * 2000, late])))
    found = labelled(path)
    assert found[0] == ("x" * 200, None)
    assert found[2000] == ("late", "b")


def test_a_column_may_be_in_the_last_row_alone_but_not_in_none(tmp_path: Path) -> None:
    path = _file(tmp_path, '{"text": "a"}\n' * 700 + '{"text": "b", "label": "x"}\n')
    assert labelled(path)[-2:] == [("a", None), ("b", "x")]
    path = _file(tmp_path, '{"text": "a"}\n' * 700)
    with pytest.raises(DataError, match=r"a\.jsonl: has no column 'label', it has text"):
        labelled(path)


def test_a_key_twice_is_harmless_where_nobody_reads_it(tmp_path: Path) -> None:
    assert texts(_file(tmp_path, '{"z": 1, "text": "a", "z": 2}')) == ["a"]


def test_halves_of_surrogate_pairs_are_undecodable_where_they_are_read(tmp_path: Path) -> None:
    rows = [
        r'{"text": "cut \ud83d", "label": "x"}',
        r'{"text": "whole \ud83d\ude00", "label": "\ude00"}',
        r'{"text": "unused", "label": "x", "other": "\ud83d"}',
    ]
    assert labelled(_file(tmp_path, "\n".join(rows))) == [
        ("cut \ufffd", "x"),
        ("whole \U0001f600", "\ufffd"),
        ("unused", "x"),
    ]


def test_control_characters_in_strings_are_text(tmp_path: Path) -> None:
    assert texts(_file(tmp_path, '{"text": "a\tb\x01"}')) == ["a\tb\x01"]


def test_lists_hold_texts_and_names(tmp_path: Path) -> None:
    rows = ['{"w": ["a", "b"], "l": ["O", 1]}', '{"w": "a", "l": ["O"]}', '{"w": [3], "l": []}']
    path = _file(tmp_path, "\n".join(rows))
    (found,) = read(path, WORDS)
    assert found.words == [["a", "b"], None, None]
    assert found.word_labels == [["O", "1"], None, None]
    assert faults(path, WORDS) == {
        2: "column 'w' holds text, not a list of words or labels",
        3: "column 'w' holds a number, not text",
    }


def test_an_array_is_read_piece_by_piece_with_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_rows, "_READ_CHARACTERS", 7)
    rows = [{"text": "x" * size, "label": str(size)} for size in (3, 100, 0, 17)]
    path = _file(tmp_path, "\n [" + ",\n\n".join(map(json.dumps, rows)) + ", 5\n]\n", "a.json")
    assert labelled(path) == [(row["text"], row["label"]) for row in rows]
    numbers = [number for some in read(path, LABELLED) for number in some.numbers]
    assert numbers == [2, 4, 6, 8, 8]
    assert faults(path) == {8: "JSON that is no object"}


def test_a_broken_array_is_refused_with_its_line(tmp_path: Path) -> None:
    path = _file(tmp_path, '[{"text": "a"},\n{"text": "b"', "a.json")
    with pytest.raises(DataError, match=r"a\.json: line 2: what follows in the array is no JSON"):
        texts(path)
