import os
from pathlib import Path

import pytest
from raykd.config.schema.prepare import PrepareOptions, SourceOptions
from raykd.data.prepare.inputs import find_inputs
from raykd.data.prepare.sources import expand
from raykd.errors import ConfigError
from raykd.storage import uris

HUB_LAYOUT = [
    "data/train-00000-of-00002.parquet",
    "data/train-00001-of-00002.parquet",
    "data/validation-00000-of-00001.parquet",
    "data/test-00000-of-00001.parquet",
]
GLUE_LAYOUT = ["train.tsv", "dev_matched.tsv", "dev_mismatched.tsv", "test_matched.tsv"]
XNLI_LAYOUT = ["xnli.train.en.tsv", "xnli.dev.tsv", "xnli.test.tsv"]
Found = dict[str, list[str]]
FOLDERS = ["train/a.csv", "valid/a.csv", "test/train.csv"]


def _files(directory: Path, names: list[str]) -> Path:
    for name in names:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(name)
    return directory


def _of(directory: Path, *train: object, **others: tuple[object, ...]) -> Found:
    splits = {split: tuple(map(str, sources)) for split, sources in others.items()}
    sources = SourceOptions(train=tuple(map(str, train)), splits=splits)
    options = PrepareOptions(sources=sources, output_uri="unused")
    found: Found = {}
    for file in find_inputs(options).files:
        found.setdefault(file.split, []).append(os.path.relpath(file.uri, directory))
    return found


@pytest.mark.parametrize(
    ("names", "train", "validation", "test"),
    [
        (HUB_LAYOUT, HUB_LAYOUT[:2], HUB_LAYOUT[2:3], HUB_LAYOUT[3:]),
        (GLUE_LAYOUT, GLUE_LAYOUT[:1], GLUE_LAYOUT[1:3], GLUE_LAYOUT[3:]),
        (FOLDERS, FOLDERS[:1], FOLDERS[1:2], FOLDERS[2:]),
        (XNLI_LAYOUT, XNLI_LAYOUT[:1], XNLI_LAYOUT[1:2], XNLI_LAYOUT[2:]),
    ],
)
def test_a_folder_gives_the_files_of_the_split_that_is_asked_for(
    tmp_path: Path, names: list[str], train: list[str], validation: list[str], test: list[str]
) -> None:
    root = _files(tmp_path, names)
    expected = {"train": train, "validation": validation, "test": test}
    assert _of(root, root, validation=(root,), test=(root,)) == expected


def test_a_glob_is_no_way_around(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = _files(tmp_path / "test", HUB_LAYOUT)
    assert _of(root, f"{root}/*/*.parquet") == {"train": HUB_LAYOUT[:2]}
    assert "its files of other splits (test, validation) are left out" in caplog.text


def test_a_store_is_no_way_around(s3_uri: str) -> None:
    for name in HUB_LAYOUT:
        uris.write_bytes(f"{s3_uri}/set/{name}", b"x")
    for source in (f"{s3_uri}/set", f"{s3_uri}/set/data/*.parquet"):
        found = [file.uri for file in expand(SourceOptions(train=(source,)))]
        assert found == [f"{s3_uri}/set/{name}" for name in HUB_LAYOUT[:2]]


def test_a_named_file_is_what_it_is_named_for(tmp_path: Path) -> None:
    root = _files(tmp_path, ["test.csv"])
    assert _of(root, root / "test.csv") == {"train": ["test.csv"]}


def test_words_that_only_resemble_a_split_name_none(tmp_path: Path) -> None:
    names = ["contest.txt", "devices.txt", "training.txt", "trainer.txt"]
    assert _of(_files(tmp_path, names), tmp_path) == {"train": sorted(names)}


def test_names_that_leave_the_split_open_are_refused(tmp_path: Path) -> None:
    _files(tmp_path, ["rows.csv", "test.csv"])
    with pytest.raises(ConfigError, match=r"\(test, such as .*test\.csv\) and files of none"):
        _of(tmp_path, tmp_path)


def test_a_folder_without_the_split_is_refused(tmp_path: Path) -> None:
    _files(tmp_path, ["train.csv"])
    with pytest.raises(ConfigError, match="holds no file of the validation split"):
        _of(tmp_path, tmp_path / "train.csv", validation=(tmp_path,))


@pytest.mark.parametrize("other", ["./a.txt", "sub/../a.txt", "hard.txt", "soft.txt", "*.txt"])
def test_no_file_is_in_two_splits_whatever_it_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    _files(tmp_path, ["a.txt", "sub/b.txt"])
    monkeypatch.chdir(tmp_path)
    os.link("a.txt", "hard.txt")
    Path("soft.txt").symlink_to("a.txt")
    with pytest.raises(ConfigError, match="is in two splits, train"):
        _of(tmp_path, tmp_path / "a.txt", validation=(other,))
    with pytest.raises(ConfigError, match="is in two splits, validation"):
        _of(tmp_path, tmp_path / "sub/b.txt", validation=("a.txt",), held_out=(other,))


def test_one_object_is_not_in_two_splits(s3_uri: str) -> None:
    uris.write_bytes(f"{s3_uri}/a.txt", b"x")
    sources = SourceOptions(train=(f"{s3_uri}/*.txt",), splits={"test": (f"{s3_uri}/a.txt",)})
    with pytest.raises(ConfigError, match="is in two splits, train and test"):
        find_inputs(PrepareOptions(sources=sources, output_uri="unused"))


def test_each_split_is_read_from_its_own_of_the_hub() -> None:
    own: tuple[str, ...] = ("owner/name",)
    splits = {"test": own, "validation": own, "validation_matched": own}
    sources = SourceOptions(train=own, splits=splits, hub_validation_split="dev")
    read = {file.split: file.hub_split for file in expand(sources)}
    expected = {"test": "test", "validation": "dev", "validation_matched": "validation_matched"}
    assert read == {"train": "train", **expected}


def test_a_split_of_the_hub_is_not_two_of_ours() -> None:
    sources = SourceOptions(
        train=("owner/name",), splits={"validation": ("owner/name",)}, hub_validation_split="train"
    )
    with pytest.raises(ConfigError, match="owner/name: is in two splits"):
        find_inputs(PrepareOptions(sources=sources, output_uri="unused"))


def test_copies_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, content in {"a": "x" * 9000, "b": "x" * 8999 + "y", "c": "x" * 9000}.items():
        (tmp_path / f"{name}.txt").write_text(content)
    _of(tmp_path, tmp_path / "a.txt", tmp_path / "b.txt", validation=(tmp_path / "c.txt",))
    assert f"c.txt: holds the same as {tmp_path / 'a.txt'}" in caplog.text
    assert "b.txt" not in caplog.text


def test_a_file_that_is_read_twice_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = _files(tmp_path, ["a.txt"])
    assert _of(root, root / "a.txt", root) == {"train": ["a.txt", "a.txt"]}
    assert "a.txt: is read again" in caplog.text
