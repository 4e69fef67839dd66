import errno
from pathlib import Path

import datasets
import pytest
from raykd.data.prepare.readers.hub import read_hub
from raykd.errors import DataError

from tests.unit.data.prepare.reading import read


@pytest.fixture
def data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a data set; datasets takes a folder for one."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    rows = {"text": ["a", "b"], "label": ["x", "y"], "unused": [1, 2]}
    (tmp_path / "set").mkdir()
    for split in ("train", "test"):
        datasets.Dataset.from_dict(rows).to_parquet(tmp_path / "set" / f"{split}.parquet")
    return str(tmp_path / "set")


def test_the_named_columns_of_one_split_are_read(data_set: str) -> None:
    (records,) = read_hub(data_set, None, "test", ["label", "text"])
    assert records.table.to_pydict() == {"label": ["x", "y"], "text": ["a", "b"]}
    assert list(records.numbers) == [1, 2]


def test_a_missing_column_is_named_before_anything_is_read(data_set: str) -> None:
    with pytest.raises(DataError, match="has no column 'lable', it has text, label, unused; did"):
        next(read_hub(data_set, None, "train", ["lable"]))


def test_an_unreachable_name_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match=r"^no/such: is no file here, and cannot be read as a Hub"):
        read(Path("no/such"))


def test_a_cache_that_cannot_be_written_is_named_with_its_setting(
    data_set: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/nonexistent")

    monkeypatch.setattr("os.makedirs", deny)
    with pytest.raises(ValueError, match="set HF_HOME to one that can be written to"):
        next(read_hub(data_set, None, "train", ["text"]))
