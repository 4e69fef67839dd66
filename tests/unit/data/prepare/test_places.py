from pathlib import Path

import pytest
from raykd.data.prepare.places import place


@pytest.mark.parametrize(
    ("name", "content", "number", "expected"),
    [
        ("a.jsonl", '{"a": 1}\n\n{"a": 2}\n', 2, "line 3"),
        ("a.json", '[{"a": 1},\n{"a": 2}]', 2, "row 2"),
        ("a.csv", 'text,label\n"one\ntwo",1\n\nthree,2\n', 2, "line 5"),
        ("a.csv", 'text,label\n"one\ntwo",1\n\nthree,2\n', 1, "line 2"),
        ("a.parquet", "", 7, "row 7"),
    ],
)
def test_rows_are_found_by_their_line(
    tmp_path: Path, name: str, content: str, number: int, expected: str
) -> None:
    path = tmp_path / name
    path.write_text(content)
    assert place(str(path), unit="row", number=number) == f"{path}: {expected}"
