"""What of a directory goes to the cluster: the files that git tracks, as they are now."""

import hashlib
import subprocess
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from raykd.errors import ConfigError

LIMIT_BYTES = 100_000_000
"""Ray keeps every package in the memory of the head, and each node fetches it."""

_MOST_NAMED = 5
_GIT = ["git", "ls-files", "-z", "--recurse-submodules"]
_DATE = (1980, 1, 1, 0, 0, 0)
"""The same for all: Ray knows a package by its bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrackedFile:
    """One file of the package."""

    path: str
    """Relative to the directory that is packed, with slashes."""

    num_bytes: int


def tracked_files(directory: Path) -> list[TrackedFile]:
    """Return the files below a directory that git tracks and that are there.

    Raises:
        ConfigError: Git is not there, or tracks nothing here.
    """
    try:
        listed = subprocess.run(_GIT, cwd=directory, capture_output=True, check=False)  # noqa: S603  these words alone
    except FileNotFoundError as error:
        message = "git: no such program; it tells which files go to the cluster: install it"
        raise ConfigError(message) from error
    if listed.returncode:
        reason = listed.stderr.decode(errors="replace").strip().partition("\n")[0]
        message = f"{directory}: {reason}; what git tracks goes to the cluster: git init, git add"
        raise ConfigError(message)
    paths = [path for path in listed.stdout.decode().split("\0") if path]
    found = [
        TrackedFile(path=path, num_bytes=(directory / path).stat().st_size)
        for path in sorted(set(paths))
        if (directory / path).is_file()
    ]
    if not found:
        message = f"{directory}: git tracks no file here; what it tracks goes to the cluster"
        raise ConfigError(message)
    return found


def require_small(files: Sequence[TrackedFile], *, limit_bytes: int = LIMIT_BYTES) -> None:
    """Check the size of all files together.

    Raises:
        ConfigError: It is above the limit; the message names the largest files.
    """
    total = total_bytes(files)
    if total <= limit_bytes:
        return
    largest = sorted(files, key=lambda file: file.num_bytes, reverse=True)[:_MOST_NAMED]
    named = ", ".join(f"{file.path} ({megabytes(file.num_bytes)})" for file in largest)
    message = (
        f"the files that git tracks here have {megabytes(total)}, at most "
        f"{megabytes(limit_bytes)} go to a cluster; the largest: {named}; keep data and models in "
        "an object store, and take them out of git: git rm --cached FILE"
    )
    raise ConfigError(message)


def require_tracked(paths: Sequence[Path], directory: Path, files: Sequence[TrackedFile]) -> None:
    """Check that files which a job reads go to the cluster.

    Args:
        paths: As they are named, relative to the directory.
        directory: What is packed.
        files: Of the package.

    Raises:
        ConfigError: One does not.
    """
    tracked = {directory / file.path for file in files}
    for path in paths:
        if path.is_absolute():
            message = f"{path}: name it relative to {directory}, which goes to the cluster"
            raise ConfigError(message)
        if (directory / path).resolve() not in {file.resolve() for file in tracked}:
            message = (
                f"{path}: git does not track it below {directory}, so it would not be on the "
                "cluster; git add it"
            )
            raise ConfigError(message)


def total_bytes(files: Sequence[TrackedFile]) -> int:
    """Return the size of all files together."""
    return sum(file.num_bytes for file in files)


def megabytes(num_bytes: int) -> str:
    """Return a size as text, in 10^6 bytes."""
    return f"{num_bytes / 1e6:,.1f} MB"


def write_package(directory: Path, files: Sequence[TrackedFile], target: Path) -> str:
    """Pack the files into a ZIP file; return its hash, the same for the same files."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as package:
        for file in files:
            entry = zipfile.ZipInfo(file.path, date_time=_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            package.writestr(entry, (directory / file.path).read_bytes())
    return hashlib.sha256(target.read_bytes()).hexdigest()
