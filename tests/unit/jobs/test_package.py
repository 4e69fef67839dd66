"""What goes to a cluster is what git tracks, as it is now, and no more than a head can hold."""

import subprocess
import zipfile
from pathlib import Path

import pytest
from raykd.errors import ConfigError
from raykd.jobs.package import (
    TrackedFile,
    require_small,
    require_tracked,
    tracked_files,
    write_package,
)


def git(directory: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=directory, check=True)  # noqa: S607


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a repository with two tracked files, one ignored and one that is new."""
    git(tmp_path, "init", "--quiet")
    (tmp_path / "configs").mkdir()
    for path, text in {"configs/run.yaml": "a", "é.txt": "b", ".gitignore": ".env\n"}.items():
        (tmp_path / path).write_text(text)
    git(tmp_path, "add", ".")
    (tmp_path / ".env").write_text("secret")
    (tmp_path / "new.txt").write_text("not added")
    return tmp_path


def packed(directory: Path, target: Path) -> dict[str, bytes]:
    write_package(directory, tracked_files(directory), target)
    with zipfile.ZipFile(target) as package:
        return {name: package.read(name) for name in package.namelist()}


def test_the_tracked_files_are_packed_as_they_are_now(project: Path, tmp_path: Path) -> None:
    (project / "configs/run.yaml").write_text("changed")
    (project / "é.txt").unlink()
    found = packed(project, tmp_path / "package.zip")
    assert found == {".gitignore": b".env\n", "configs/run.yaml": b"changed"}


def test_a_directory_inside_a_repository_is_packed_alone(project: Path, tmp_path: Path) -> None:
    assert packed(project / "configs", tmp_path / "package.zip") == {"run.yaml": b"a"}


def test_the_hash_is_that_of_the_files(project: Path, tmp_path: Path) -> None:
    def packed_hash() -> str:
        return write_package(project, tracked_files(project), tmp_path / "package.zip")

    first = packed_hash()
    (project / "configs/run.yaml").touch()
    assert packed_hash() == first
    (project / "configs/run.yaml").write_text("b")
    assert packed_hash() != first


def test_where_git_tracks_nothing_one_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"not a git repository.*git init, git add"):
        tracked_files(tmp_path)
    git(tmp_path, "init", "--quiet")
    with pytest.raises(ConfigError, match="git tracks no file here"):
        tracked_files(tmp_path)


def test_too_much_is_refused_with_the_largest_files() -> None:
    files = [TrackedFile(path=f"{n}.bin", num_bytes=n * 1_000_000) for n in range(1, 9)]
    require_small(files, limit_bytes=36_000_000)
    with pytest.raises(ConfigError) as refused:
        require_small(files, limit_bytes=35_999_999)
    told = str(refused.value)
    assert "have 36.0 MB, at most 36.0 MB" in told
    assert "8.bin (8.0 MB), 7.bin (7.0 MB), 6.bin (6.0 MB), 5.bin (5.0 MB), 4.bin" in told
    assert "3.bin" not in told


@pytest.mark.parametrize(
    ("named", "why"),
    [
        ("new.txt", "git does not track it"),
        ("../run.yaml", "git does not track it"),
        ("/run.yaml", "name it relative to"),
    ],
)
def test_what_a_job_reads_must_go_with_it(project: Path, named: str, why: str) -> None:
    files = tracked_files(project)
    require_tracked([Path("configs/../configs/run.yaml")], project, files)
    with pytest.raises(ConfigError, match=f"^{named}: {why}"):
        require_tracked([Path(named)], project, files)
