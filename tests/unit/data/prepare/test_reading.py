import csv
import gzip
import json
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raykd.config.schema.prepare import ColumnOptions
from raykd.errors import DataError
from raykd.storage import uris

from tests.unit.data.prepare.reading import LABELLED, labelled, read, texts

TEXTS = ["first text", "NA", "second, with\na line break", "007", "\u4f60\u597d"]
LABELS = ["a", "b", "a", "1", "b"]
NAMES = ["a.jsonl", "a.jsonl.gz", "a.json", "a.csv", "a.tsv", "a.parquet", "a.arrow", "a[1].csv"]


def _written(directory: Path, name: str) -> Path:
    path = directory / name
    table = pa.table({"text": TEXTS, "label": LABELS})
    lines = "".join(json.dumps(row) + "\n" for row in table.to_pylist())
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(lines.encode()))
    elif name.endswith(".jsonl"):
        path.write_text(lines)
    elif name.endswith(".json"):
        path.write_text(json.dumps(table.to_pylist(), indent=1))
    elif name.endswith("sv"):
        delimiter = "," if name.endswith(".csv") else "\t"
        pyarrow.csv.write_csv(
            table, path, pyarrow.csv.WriteOptions(delimiter=delimiter, quoting_style="needed")
        )
    elif name.endswith(".parquet"):
        pyarrow.parquet.write_table(table, path)
    else:
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    path = _written(tmp_path, name)
    (rows,) = read(path, LABELLED, quoting="minimal")
    assert (rows.texts, rows.labels, rows.faults) == (TEXTS, LABELS, {})
    assert (rows.uri, rows.split) == (str(path), "train")


@pytest.mark.parametrize("name", NAMES)
def test_every_format_is_read_from_a_store(tmp_path: Path, name: str, s3_uri: str) -> None:
    uri = f"{s3_uri}/{name}"
    uris.write_bytes(uri, _written(tmp_path, name).read_bytes())
    (rows,) = read(uri, LABELLED, quoting="minimal")
    assert (rows.texts, rows.labels, rows.uri) == (TEXTS, LABELS, uri)


_LINES = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1),
    min_size=1,
    max_size=5,
)


@settings(max_examples=60, derandomize=True)
@given(_LINES)
def test_whatever_texts_hold_every_format_keeps_it(held: list[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        paths = [Path(directory, name) for name in ("a.csv", "a.jsonl", "a.parquet")]
        with paths[0].open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([["text"], *([text] for text in held)])
        lines = [json.dumps({"text": text}, ensure_ascii=len(text) % 2 == 0) for text in held]
        paths[1].write_text("\n".join(lines), encoding="utf-8")
        pyarrow.parquet.write_table(pa.table({"text": held}), paths[2])
        assert [texts(path) for path in paths] == [held] * 3


def test_rows_are_numbered_through_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("\n".join(map(str, range(1, 1001))))
    rows = read(path)
    assert len(rows) > 1
    assert all(some.texts == [str(number) for number in some.numbers] for some in rows)
    assert [text for some in rows for text in some.texts] == [str(n) for n in range(1, 1001)]


def test_a_missing_column_is_named_with_what_there_is(tmp_path: Path) -> None:
    path = _written(tmp_path, "a.parquet")
    message = r"a\.parquet: has no column 'txt', it has text, label; did you mean 'text'\?"
    with pytest.raises(DataError, match=message):
        read(path, ColumnOptions(text="txt"))


def test_a_column_of_another_type_is_refused(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pa.table({"text": [1, 2]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="column 'text' holds int64, not text"):
        read(tmp_path / "a.parquet")
    with pytest.raises(DataError, match="column 'text' holds int64, not lists"):
        read(tmp_path / "a.parquet", ColumnOptions(words="text", word_labels="text"))


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.jsonl.gz"])
def test_a_file_of_another_format_is_one_clear_error(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("this is something else")
    with pytest.raises(DataError, match=rf"{name}: cannot be read as"):
        read(tmp_path / name)


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv", "a.parquet"])
def test_an_empty_file_has_no_rows(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert texts(tmp_path / name) == []


def test_a_byte_order_mark_alone_is_no_row(tmp_path: Path) -> None:
    for name in ("a.txt", "a.jsonl", "a.csv"):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf")
        assert labelled(tmp_path / name) == [] or name == "a.txt"
