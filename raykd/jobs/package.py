"""What of a directory goes to the cluster: the files that git tracks, as they are now."""

import heapq
import subprocess
import zipfile
from collections.abc import Sequence
from pathlib import Path

from raykd.errors import ConfigError

LIMIT_BYTES = 100_000_000
"""Ray's job server takes no more, and the memory of the head keeps it."""

_MOST_NAMED = 5
_GIT = ["git", "ls-files", "-z", "--recurse-submodules"]
_DATE = (1980, 1, 1, 0, 0, 0)
"""The same for all: Ray knows a package by its bytes."""


def tracked_files(directory: Path, *, limit_bytes: int = LIMIT_BYTES) -> list[Path]:
    """Return the files below a directory that git tracks and that are there.

    Returns:
        Paths relative to the directory, sorted.

    Raises:
        ConfigError: Git is not there, tracks nothing here, or more than the limit.
    """
    try:
        # -z: git quotes names with other characters than ASCII, but for this form.
        listed = subprocess.run(_GIT, cwd=directory, capture_output=True, check=False)  # noqa: S603  these words alone
    except FileNotFoundError as error:
        message = "git: no such program; it tells which files go to the cluster: install it"
        raise ConfigError(message) from error
    if listed.returncode:
        reason = listed.stderr.decode(errors="replace").strip().partition("\n")[0]
        message = f"{directory}: {reason}; what git tracks goes to the cluster: git init, git add"
        raise ConfigError(message)
    paths = {Path(path) for path in listed.stdout.decode().split("\0") if path}
    # A tracked file that was removed and not committed is in git's list, and not on the disk.
    # Sizes are those before compression, and so the package is never above the limit.
    sizes = {p: (directory / p).stat().st_size for p in sorted(paths) if (directory / p).is_file()}
    if not sizes:
        message = f"{directory}: git tracks no file here; what it tracks goes to the cluster"
        raise ConfigError(message)
    if (total := sum(sizes.values())) > limit_bytes:
        largest = heapq.nlargest(_MOST_NAMED, sizes, key=sizes.__getitem__)
        named = ", ".join(f"{path} ({megabytes(sizes[path])})" for path in largest)
        message = (
            f"the files that git tracks here have {megabytes(total)}, at most "
            f"{megabytes(limit_bytes)} go to a cluster; the largest: {named}; keep data and "
            "models in an object store, and take them out of git: git rm --cached FILE"
        )
        raise ConfigError(message)
    return list(sizes)


def require_tracked(paths: Sequence[Path], directory: Path, files: Sequence[Path]) -> None:
    """Check that files which a job reads go to the cluster.

    Args:
        paths: As they are named, relative to the directory.
        directory: What is packed.
        files: Those in the package, relative to the directory.

    Raises:
        ConfigError: One does not.
    """
    tracked = {(directory / file).resolve() for file in files}
    for path in paths:
        if path.is_absolute():
            message = f"{path}: name it relative to {directory}, which goes to the cluster"
            raise ConfigError(message)
        if (directory / path).resolve() not in tracked:
            message = (
                f"{path}: git does not track it below {directory}, so it would not be on the "
                "cluster; git add it"
            )
            raise ConfigError(message)


def write_package(directory: Path, files: Sequence[Path], target: Path) -> None:
    """Pack files of a directory into a ZIP file, the same bytes for the same files."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as package:
        # In the order of tracked_files, which is sorted: order is part of the bytes.
        for file in files:
            entry = zipfile.ZipInfo(file.as_posix(), date_time=_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            package.writestr(entry, (directory / file).read_bytes())


def megabytes(num_bytes: int) -> str:
    """Return a size as text, in 10^6 bytes."""
    return f"{num_bytes / 1e6:,.1f} MB"
