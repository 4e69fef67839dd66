import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
from raykd.data.prepare.readers import tables
from raykd.errors import DataError

from tests.unit.data.prepare.reading import LABELLED, labelled, read

NAMES = ["a.parquet", "a.feather", "a.arrow"]
FORMATS = pytest.mark.parametrize("name", NAMES)


def _written(table: pa.Table, path: Path) -> Path:
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(table, path)
    elif path.suffix == ".feather":
        pyarrow.feather.write_feather(table, path)
    else:
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    return path


@FORMATS
@pytest.mark.parametrize(
    "texts",
    [
        pa.array(["a", None], pa.large_string()),
        pa.array(["a", None], pa.string_view()),
        pa.array(["a", None]).dictionary_encode(),
        pa.array([b"a", None]),
    ],
    ids=lambda array: str(array.type),
)
def test_text_is_text_in_every_type(tmp_path: Path, name: str, texts: pa.Array) -> None:
    table = pa.table({"text": texts, "label": pa.array(["x", "y"])})
    assert labelled(_written(table, tmp_path / name)) == [("a", "x"), (None, "y")]


@FORMATS
def test_columns_that_nobody_reads_may_hold_anything(tmp_path: Path, name: str) -> None:
    odd: list[Any] = [pa.array([{"a": [{"b": 1}]}]), pa.array([Decimal("1.5")]), pa.array([None])]
    columns = [pa.array(["a"]), *odd, *odd, pa.array(["x"])]
    names = ["text", "u", "text.a", "w", "u", "u", "u", "label"]
    table = pa.Table.from_arrays(columns, names=names)
    assert labelled(_written(table, tmp_path / name)) == [("a", "x")]


@FORMATS
def test_a_column_that_is_read_may_not_be_there_twice(tmp_path: Path, name: str) -> None:
    table = pa.Table.from_arrays([pa.array(["a"])] * 3, names=["text", "text", "label"])
    with pytest.raises(DataError, match="has 2 columns 'text'; rename all but one"):
        labelled(_written(table, tmp_path / name))


@FORMATS
def test_rows_are_counted_across_batches(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "ROWS_PER_READ", 4)
    table = pa.table({"text": [str(number) for number in range(1, 12)], "label": ["x"] * 11})
    rows = read(_written(table, tmp_path / name), LABELLED)
    assert [len(some.texts) for some in rows] == [4, 4, 3]
    assert all(some.texts == [str(number) for number in some.numbers] for some in rows)


@FORMATS
def test_class_labels_become_their_names(tmp_path: Path, name: str) -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])}
    )
    rows = {"text": ["a", "b", "c"], "label": [1, 0, -1]}
    table = datasets.Dataset.from_dict(rows, features=features).data.table
    found = labelled(_written(table, tmp_path / name))
    assert found == [("a", "yes"), ("b", "no"), ("c", None)]


def test_local_files_are_read_without_datasets(tmp_path: Path) -> None:
    path = _written(pa.table({"text": ["a"], "label": ["x"]}), tmp_path / "a.parquet")
    program = (
        "import sys; from pathlib import Path; from tests.unit.data.prepare.reading import read; "
        f"read(Path({str(path)!r})); print('datasets' in sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert found.stdout.strip() == "False"
