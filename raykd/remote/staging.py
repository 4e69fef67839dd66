"""Local room for what is on its way to or from storage: checked before, gone after."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from raykd.errors import DiskFullError

_PREFIX = "raykd-staging-"
_LOCK = ".lock"
_UNNAMED_LOCK = ".lock.new"


@contextmanager
def staging_directory(*, num_bytes: int = 0) -> Iterator[Path]:
    """Yield an empty temporary directory; those that dead processes left are removed.

    Args:
        num_bytes: What is going to be written there.

    Raises:
        DiskFullError: There is not as much room.
    """
    remove_dead_staging()
    root = Path(tempfile.mkdtemp(prefix=_PREFIX))
    try:
        # Held as long as this process lives, and before it has its name: no moment looks dead.
        with (root / _UNNAMED_LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            (root / _UNNAMED_LOCK).rename(root / _LOCK)
            require_room(root, num_bytes)
            (inner := root / "files").mkdir()
            yield inner
    finally:
        shutil.rmtree(root, ignore_errors=True)


def require_room(path: Path, num_bytes: int) -> None:
    """Check the free disk space at a path.

    Raises:
        DiskFullError: It is less than what is going to be written.
    """
    free = shutil.disk_usage(path).free
    if free < num_bytes:
        message = (
            f"{path}: {num_bytes / 1e9:.2f} GB are to be written, but {free / 1e9:.2f} GB are "
            "free: make room, or set TMPDIR or output_uri to another disk"
        )
        raise DiskFullError(message)


def dead_staging() -> list[Path]:
    """Return the staging directories whose processes are gone."""
    candidates = Path(tempfile.gettempdir()).glob(f"{_PREFIX}*")
    return [path for path in candidates if _is_dead(path)]


def remove_dead_staging() -> None:
    """Remove what processes that were killed have left on this machine's disk."""
    for path in dead_staging():
        shutil.rmtree(path, ignore_errors=True)


def _is_dead(path: Path) -> bool:
    # Without a lock it is being made or removed at this moment, or by somebody else.
    with suppress(OSError), (path / _LOCK).open("r") as lock:
        if os.fstat(lock.fileno()).st_uid != os.getuid():
            return False
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False
