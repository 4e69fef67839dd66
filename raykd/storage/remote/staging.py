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
_FILES = "files"
"""All that is in such a directory."""

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
"""Others can write to the folder of temporary files: no pipe is waited for, no link followed."""


@contextmanager
def staging_directory(*, num_bytes: int = 0) -> Iterator[Path]:
    """Yield an empty temporary directory; those that dead processes left are removed.

    Args:
        num_bytes: What is going to be written there.

    Raises:
        DiskFullError: There is not as much room.
    """
    remove_dead_staging()
    root, lock = _locked_directory()
    try:
        require_room(root, num_bytes)
        # Copies take over its mode: what the umask says, not that of temporary directories.
        (inner := root / _FILES).mkdir()
        yield inner
    finally:
        # Unlocked last: in between, another process would take it for one of the dead.
        shutil.rmtree(root, ignore_errors=True)
        os.close(lock)


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
    dead = []
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with _taken(path) as is_dead:
            if is_dead:
                dead.append(path)
    return dead


def remove_dead_staging() -> None:
    """Remove what processes that were killed have left on this machine's disk."""
    for path in dead_staging():
        remove_if_dead(path)


def remove_if_dead(path: Path) -> None:
    """Remove a staging directory, unless it is, at this moment, of a process that lives."""
    with _taken(path) as is_dead:
        if is_dead:
            shutil.rmtree(path, ignore_errors=True)


def _locked_directory() -> tuple[Path, int]:
    """Return a new directory, and the descriptor that locks it as long as this process lives.

    The directory itself is locked: whenever the process is killed, what is left looks dead.
    """
    while True:
        path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        # Until it is locked it looks dead, too: another process may remove it.
        with suppress(FileNotFoundError):
            lock = os.open(path, _FLAGS)
            # NFS locks no directories; there none is found dead, either.
            with suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX)
            if path.exists():
                return path, lock
            os.close(lock)


@contextmanager
def _taken(path: Path) -> Iterator[bool]:
    """Yield whether it is of a dead process of this user; nobody else takes it in the block."""
    try:
        lock = os.open(path, _FLAGS)
    except OSError:
        yield False
        return
    try:
        # Only what raykd makes is in it: the name alone does not make it raykd's.
        is_mine = os.fstat(lock).st_uid == os.getuid() and {*os.listdir(lock)} <= {_FILES}  # noqa: PTH208  no path
        yield is_mine and _locks(lock)
    finally:
        os.close(lock)


def _locks(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
