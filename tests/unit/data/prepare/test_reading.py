import gzip
import json
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from raykd.config.schema.prepare import ColumnOptions, PrepareOptions, SourceOptions
from raykd.data.prepare.raw_rows import RawRows
from raykd.data.prepare.reading import read_rows
from raykd.data.prepare.sources import expand
from raykd.errors import DataError

TEXTS = ["first text", "NA", "second, with\na line break", "007", "\u4f60\u597d"]
LABELS = ["a", "b", "a", "1", "b"]


def _read(path: Path, columns: ColumnOptions | None = None, **sources: object) -> list[RawRows]:
    options = PrepareOptions(
        sources=SourceOptions(train=(str(path),), **sources),  # type: ignore[arg-type]  # several types
        columns=columns or ColumnOptions(),
        output_uri="unused",
    )
    return [rows for file in expand(options.sources) for rows in read_rows(file, options)]


def _texts(rows: list[RawRows]) -> list[str | None]:
    return [text for some in rows for text in some.texts]


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


@pytest.mark.parametrize(
    "name",
    ["a.jsonl", "a.jsonl.gz", "a.json", "a.csv", "a.tsv", "a.parquet", "a.arrow", "a[1].csv"],
)
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    path = _written(tmp_path, name)
    (rows,) = _read(path, ColumnOptions(label="label"))
    assert rows.texts == TEXTS
    assert rows.labels == LABELS
    assert (rows.uri, rows.first, rows.split) == (str(path), 1, "train")


@pytest.mark.parametrize(
    ("document", "texts", "unit"),
    [
        ("line", ["one", "two", "", "three"], "line"),
        ("paragraph", ["one\ntwo", "three"], "paragraph"),
        ("file", ["one\ntwo\n\nthree"], "file"),
    ],
)
def test_text_files_are_cut_into_documents(
    tmp_path: Path, document: str, texts: list[str], unit: str
) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\r\ntwo\n\nthree")
    (rows,) = _read(path, document=document)
    assert (rows.texts, rows.unit) == (texts, unit)


def test_rows_are_numbered_through_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("\n".join(map(str, range(1, 1001))))
    rows = _read(path)
    assert len(rows) > 1
    assert all(some.texts[0] == str(some.first) for some in rows)
    assert _texts(rows) == [str(number) for number in range(1, 1001)]


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv"])
def test_undecodable_bytes_become_replacement_characters(tmp_path: Path, name: str) -> None:
    content = {"a.txt": b"x\xff\ny", "a.jsonl": b'{"text":"x\xff"}\n{"text":"y"}\n'}
    path = tmp_path / name
    path.write_bytes(content.get(name, b"text\nx\xff\ny\n"))
    assert _texts(_read(path)) == ["x\ufffd", "y"]


def test_class_labels_become_their_names(tmp_path: Path) -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])}
    )
    rows = {"text": ["a", "b", "c"], "label": [1, 0, -1]}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "a.parquet")
    (read,) = _read(tmp_path / "a.parquet", ColumnOptions(label="label"))
    assert read.labels == ["yes", "no", None]


def test_words_and_their_labels_are_lists(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"w": ["a", "b"], "l": ["O", "X"]}\n{"w": null, "l": ["O"]}\n')
    (rows,) = _read(path, ColumnOptions(words="w", word_labels="l"))
    assert rows.words == [["a", "b"], None]
    assert rows.word_labels == [["O", "X"], ["O"]]
    assert rows.texts == ["a b", None]


def test_a_missing_column_is_named_with_what_there_is(tmp_path: Path) -> None:
    path = _written(tmp_path, "a.parquet")
    message = r"a\.parquet: has no column 'txt', it has text, label; did you mean 'text'\?"
    with pytest.raises(DataError, match=message):
        _read(path, ColumnOptions(text="txt"))


def test_a_column_of_another_type_is_refused(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pa.table({"text": [1, 2]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="column 'text' holds int64, not text"):
        _read(tmp_path / "a.parquet")
    with pytest.raises(DataError, match="column 'text' holds int64, not lists"):
        _read(tmp_path / "a.parquet", ColumnOptions(words="text", word_labels="text"))


def test_malformed_json_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "x"}\n\n{"text": "y"}\n{"text": "z"\n')
    with pytest.raises(DataError, match=r"a\.jsonl: line 4 is no JSON: Expecting ',' delimiter"):
        _read(path)


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.jsonl.gz"])
def test_a_file_of_another_format_is_one_clear_error(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("this is something else")
    with pytest.raises(DataError, match=rf"{name}: cannot be read as"):
        _read(tmp_path / name)


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv", "a.parquet"])
def test_an_empty_file_has_no_rows(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert _read(tmp_path / name) == []


def test_an_unreachable_hub_name_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match=r"^no/such: is no file here, and cannot be read as a Hub"):
        _read(Path("no/such"))
