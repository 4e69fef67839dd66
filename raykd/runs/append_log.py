"""A file that only grows, in any store: readers see all that has been written so far.

On this machine's file systems it is a file. Object stores cannot append: while it grows, it lies
there in pieces beside its place, of bounded size:

    metrics.parts/000000000000-000000262190.jsonl   bytes 0 up to 262190: full, and left alone
    metrics.parts/000000262190-000000262544.jsonl   the rest, so far

None of them is overwritten: some servers that are killed while they replace an object lose it.
A longer last piece is written before the shorter one is removed. Closed for good, all is one file.
"""

import logging
import re
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from raykd.errors import StorageError
from raykd.runs.background import Background
from raykd.storage import uris

logger = logging.getLogger(__name__)

_FULL_BYTES = 256 * 1024
"""What is written again and again is never much longer."""

_SECONDS_BETWEEN = 5.0
"""A store is not given what is new more often than this."""

_MOST_ATTEMPTS = 20
"""Pieces that are removed while they are read have been replaced: only a few times in a row."""

_PART = re.compile(r"(\d{12,})-(\d{12,})\.\w+")


@dataclass(frozen=True, order=True, slots=True)
class _Part:
    """Bytes of the file, from ``start`` up to ``end``, in one object."""

    start: int
    end: int


class AppendedFile:
    """Adds to a file; in an object store in the background, where training waits for nothing."""

    def __init__(self, uri: str, *, content: bytes) -> None:
        """Open it where it has that content, and perhaps more, which goes.

        Args:
            uri: The file.
            content: What stays of what ``read_bytes`` has returned: the first bytes of it.
        """
        self._uri = uri
        self._is_local = uris.is_local(uri)
        self._background = Background("raykd-append")
        self._writing = threading.Lock()
        is_there = uris.exists(uri)
        if self._is_local or is_there:
            # Closed for good and opened again, it is mostly all there.
            if not is_there or uris.size_bytes(uri) != len(content):
                uris.write_bytes(uri, content)
            _delete_parts(uri)
            self._last, self._start = None, len(content)
        else:
            self._last = _cut(uri, content)
            self._start = self._last.start if self._last is not None else len(content)
        self._added = bytearray(content[self._start :])
        self._written_at = time.monotonic()

    def append(self, content: bytes) -> None:
        """Add to the end; it reaches an object store a little later, or with ``flush``.

        Raises:
            StorageError: The store does not take it, or what was added earlier.
        """
        if self._is_local:
            uris.append_bytes(self._uri, content)
            return
        self._added.extend(content)
        is_due = time.monotonic() - self._written_at > _SECONDS_BETWEEN
        if is_due and not self._background.is_busy:
            self._background.start(self.flush)
            self._written_at = time.monotonic()

    def flush(self) -> None:
        """Make sure that the store has everything; from any thread.

        Raises:
            StorageError: The store does not take it.
        """
        if self._is_local:
            return
        # One at a time: training appends and the background flushes, and so may a checkpoint.
        with self._writing:
            content = bytes(self._added)
            part, shorter = _Part(self._start, self._start + len(content)), self._last
            # One that is opened is there, though nothing is added.
            if part == shorter or (not content and part.start > 0):
                return
            uris.write_bytes(_part_uri(self._uri, part), content)
            self._last = part
            if shorter is not None:
                uris.delete(_part_uri(self._uri, shorter))
            # Each flush writes all of the last piece: while it is bounded, so is that.
            if len(content) >= _FULL_BYTES:
                self._start, self._last = part.end, None
                del self._added[: len(content)]

    def close(self, *, is_done: bool) -> None:
        """Write what is left.

        Args:
            is_done: Nothing will be added any more: the pieces become one file.

        Raises:
            StorageError: The store does not take it.
        """
        self._background.drain()
        self.flush()
        # The file first, then its pieces: at every moment readers find all of it.
        if not self._is_local and is_done and _parts(self._uri):
            uris.write_bytes(self._uri, read_bytes(self._uri))
            _delete_parts(self._uri)


def exists(uri: str) -> bool:
    """Tell whether a file has been opened at a URI."""
    return bool(_parts(uri)) or uris.exists(uri)


def size_bytes(uri: str) -> int:
    """Return how long a file is, 0 where there is none."""
    parts = _parts(uri)
    return parts[-1].end if parts else uris.size_bytes(uri)


def read_bytes(uri: str, *, start: int = 0) -> bytes:
    """Return what has been written so far, from a position on; nothing where there is no file.

    Raises:
        StorageError: It cannot be read.
    """
    for _ in range(_MOST_ATTEMPTS):
        if not (parts := _parts(uri)):
            with suppress(FileNotFoundError):
                return uris.read_bytes(uri, start=start)
            return b""
        # In the order of their starts, and of each the longest.
        newest = {part.start: part for part in parts}.values()
        needed = {_part_uri(uri, part): part for part in newest if part.end > start}
        # A file that was closed for good and opened again has its first bytes in its place.
        before = [uri] if start < parts[0].start else []
        contents = uris.read_many([*before, *needed])
        # Else a piece was replaced by a longer one since it was listed: list again.
        if needed.keys() <= contents.keys():
            first = 0 if before else min((part.start for part in needed.values()), default=start)
            pieces = [(part.start - first, contents[of_part]) for of_part, part in needed.items()]
            return _joined(uri, contents.get(uri, b""), pieces)[start - first :]
    message = f"{uri}: its pieces go faster than they are read; read it again"
    raise StorageError(message)


def _joined(uri: str, content: bytes, pieces: Iterable[tuple[int, bytes]]) -> bytes:
    joined = bytearray(content)
    for position, piece in pieces:
        if position > len(joined):
            # Later bytes would be read as if they followed: a record of two halves.
            logger.warning("%s: a piece of it is gone; what follows is left out", uri)
            break
        joined[position:] = piece
    return bytes(joined)


def _cut(uri: str, content: bytes) -> _Part | None:
    """Remove what goes beyond the content; return the last piece, unless it is full.

    Whenever this ends too early, readers see the content, and perhaps more.
    """
    parts = _parts(uri)
    kept = [part for part in parts if part.end <= len(content)]
    # From the end on: what is left at any moment is one file without a gap.
    for part in reversed(parts):
        if part.end > len(content):
            if part.start < len(content):
                kept.append(_Part(part.start, len(content)))
                uris.write_bytes(_part_uri(uri, kept[-1]), content[part.start :])
            uris.delete(_part_uri(uri, part))
    last = max(kept, default=None)
    return last if last is not None and last.end - last.start < _FULL_BYTES else None


def delete(uri: str) -> None:
    """Remove a file that nobody has open."""
    _delete_parts(uri)
    uris.delete(uri)


def _delete_parts(uri: str) -> None:
    names = [_part_name(uri, part) for part in _parts(uri)]
    uris.delete_many(_directory(uri), names)


def _parts(uri: str) -> list[_Part]:
    names = map(_PART.fullmatch, uris.list_names(_directory(uri)))
    return sorted(_Part(int(name[1]), int(name[2])) for name in names if name is not None)


def _directory(uri: str) -> str:
    return f"{uri.rpartition('.')[0]}.parts"


def _part_uri(uri: str, part: _Part) -> str:
    return uris.join(_directory(uri), _part_name(uri, part))


def _part_name(uri: str, part: _Part) -> str:
    return f"{part.start:012d}-{part.end:012d}.{uri.rpartition('.')[2]}"
