"""Hashes of stored files; those of large ones are remembered on this machine.

A hash is remembered for what the file system says of the file: its place, size and times to the
nanosecond, inode, or ETag. When any of them is another, earlier or later, the file is read again.
"""

import hashlib
import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from raykd.storage.remote.retry import reach
from raykd.storage.remote.transfers import digest, digest_stored

LEAST_REMEMBERED = 16 << 20
"""Bytes of a file: smaller ones are read as fast as a note about them is looked up."""

_HEX_DIGITS = 64


def stored_digest(uri: str) -> str:
    """Return the sha256 of the file at a URI.

    Raises:
        FileNotFoundError: Nothing is there.
        StorageError: It cannot be read.
    """
    size, state = reach(uri, _state)
    if size < LEAST_REMEMBERED:
        return reach(uri, _digest)
    note = _notes() / hashlib.sha256(json.dumps([uri, state]).encode()).hexdigest()
    if (known := _read(note)) is not None:
        return known
    sha256 = reach(uri, _digest)
    _write(note, sha256)
    return sha256


def _state(filesystem: AbstractFileSystem, path: str) -> tuple[int, str]:
    """Return the size of a file, and what is another whenever its content is."""
    if isinstance(filesystem, LocalFileSystem):
        stat = Path(path).stat()
        # ctime too: tools that copy set mtime back, and no program can set ctime.
        times = (stat.st_mtime_ns, stat.st_ctime_ns)
        return stat.st_size, str((stat.st_dev, stat.st_ino, stat.st_size, *times))
    filesystem.invalidate_cache()
    return int(filesystem.size(path)), str(filesystem.ukey(path))


def _digest(filesystem: AbstractFileSystem, path: str) -> str:
    if isinstance(filesystem, LocalFileSystem):
        return digest(Path(path))
    return digest_stored(filesystem, path)


def _notes() -> Path:
    return Path(tempfile.gettempdir()) / f"raykd-digests-{os.getuid()}"


def _read(note: Path) -> str | None:
    """Return what was noted; nothing that another user may have written is believed."""
    with suppress(OSError):
        # Others may have made the directory before: the folder of temporary files is everybody's.
        if note.parent.lstat().st_uid == os.getuid():
            text = note.read_text()
            # A process that was killed while it wrote leaves a shorter one.
            return text if len(text) == _HEX_DIGITS else None
    return None


def _write(note: Path, text: str) -> None:
    # Where it cannot be kept the file is read again.
    with suppress(OSError):
        note.parent.mkdir(mode=0o700, exist_ok=True)
        note.write_text(text)
