from pathlib import Path

import pytest

from tests.unit.data.prepare.reading import read, texts


@pytest.mark.parametrize(
    ("document", "expected", "lines"),
    [
        ("line", ["one", "two", "", " ", "three "], [1, 2, 3, 4, 5]),
        ("paragraph", ["one\ntwo", "three "], [1, 5]),
        ("file", ["one\ntwo\n\n \nthree "], [1]),
    ],
)
def test_text_files_are_cut_into_documents(
    tmp_path: Path, document: str, expected: list[str], lines: list[int]
) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\r\ntwo\n\n \rthree ")
    (rows,) = read(path, document=document)
    assert (rows.texts, rows.unit, list(rows.numbers)) == (expected, "line", lines)


def test_only_ends_of_lines_end_a_line(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a\u2028b\x0bc\x0cd\x85e\n")
    assert texts(path) == ["a\u2028b\x0bc\x0cd\x85e"]
