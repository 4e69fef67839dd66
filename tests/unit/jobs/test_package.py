"""What goes to a cluster is what git tracks, as it is now, and no more than a head can hold."""

import os
import subprocess
import zipfile
from pathlib import Path

import pytest
from raykd.errors import ConfigError
from raykd.jobs.package import require_tracked, tracked_files, write_package


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


def test_the_same_files_are_the_same_package(project: Path, tmp_path: Path) -> None:
    def package() -> bytes:
        target = tmp_path / "package.zip"
        write_package(project, tracked_files(project), target)
        return target.read_bytes()

    first = package()
    os.utime(project / "configs/run.yaml", (0, 0))
    assert package() == first
    (project / "configs/run.yaml").write_text("b")
    assert package() != first


def test_where_git_tracks_nothing_one_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"not a git repository.*git init, git add"):
        tracked_files(tmp_path)
    git(tmp_path, "init", "--quiet")
    with pytest.raises(ConfigError, match="git tracks no file here"):
        tracked_files(tmp_path)


def test_too_much_is_refused_with_the_largest_files(tmp_path: Path) -> None:
    for size in range(1, 9):
        (tmp_path / f"{size}.bin").write_bytes(bytes(size * 100_000))
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    assert len(tracked_files(tmp_path, limit_bytes=3_600_000)) == 8
    with pytest.raises(ConfigError) as refused:
        tracked_files(tmp_path, limit_bytes=3_599_999)
    told = str(refused.value)
    assert "have 3.6 MB, at most 3.6 MB" in told
    assert "8.bin (0.8 MB), 7.bin (0.7 MB), 6.bin (0.6 MB), 5.bin (0.5 MB), 4.bin" in told
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
