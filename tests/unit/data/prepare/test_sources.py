from pathlib import Path

import pytest
from raykd.config.schema.prepare import SourceOptions
from raykd.data.prepare.sources import ending, expand
from raykd.errors import ConfigError, DataError


def _write(path: Path, content: str = "one\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def _uris(*train: str, **options: object) -> list[str]:
    return [file.uri for file in expand(SourceOptions(train=train, **options))]  # type: ignore[arg-type]  # options of several types


def test_a_directory_is_searched_recursively_by_known_endings_in_sorted_order(
    tmp_path: Path,
) -> None:
    b = _write(tmp_path / "b.txt")
    a = _write(tmp_path / "a" / "z.txt")
    _write(tmp_path / "README.md")
    _write(tmp_path / ".hidden" / "c.txt")
    assert _uris(str(tmp_path)) == [str(a), str(b)]


def test_a_directory_of_several_formats_needs_a_decision(tmp_path: Path) -> None:
    rows = _write(tmp_path / "rows.jsonl")
    _write(tmp_path / "LICENSE.txt")
    with pytest.raises(
        ConfigError, match=r"several formats \(1 json, 1 text\); choose with --format"
    ):
        _uris(str(tmp_path))
    assert _uris(str(tmp_path), file_format="json") == [str(rows)]


def test_a_glob_and_a_name_with_brackets_find_their_files(tmp_path: Path) -> None:
    odd = _write(tmp_path / "a[1].txt")
    plain = _write(tmp_path / "b.txt")
    assert _uris(str(odd)) == [str(odd)]
    assert _uris(str(tmp_path / "*.txt")) == [str(odd), str(plain)]


def test_relative_sources_stay_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path / "data" / "a.txt")
    monkeypatch.chdir(tmp_path)
    assert _uris("data") == ["data/a.txt"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.txt: no such file or directory"):
        _uris(str(tmp_path / "nothing.txt"))


def test_an_unknown_ending_is_named_with_the_known_ones(tmp_path: Path) -> None:
    odd = _write(tmp_path / "a.docx")
    with pytest.raises(ConfigError, match=r"a\.docx: the ending '\.docx' is unknown .*--format"):
        _uris(str(odd))
    assert _uris(str(odd), file_format="text") == [str(odd)]


def test_a_directory_without_data_is_refused(tmp_path: Path) -> None:
    _write(tmp_path / "README.md")
    with pytest.raises(ConfigError, match="holds no file of a known ending"):
        _uris(str(tmp_path))


def test_what_is_no_file_may_be_a_hub_name() -> None:
    (file,) = expand(SourceOptions(train=("owner/name",), hub_split="train[:10]"))
    assert (file.uri, file.format, file.hub_split) == ("owner/name", None, "train[:10]")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.txt", ".txt"), ("s3://b/x.JSONL.gz", ".jsonl"), ("a.b/c", ""), ("x.csv.zst", ".csv")],
)
def test_endings(name: str, expected: str) -> None:
    assert ending(name) == expected
