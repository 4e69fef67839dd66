"""Files to and from a store, several at a time, within a budget of memory."""

import contextvars
import functools
import hashlib
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from fsspec import AbstractFileSystem

from raykd.errors import StorageError
from raykd.storage.remote.filesystem import is_s3
from raykd.storage.remote.retry import reach
from raykd.storage.remote.retry_limit import retry_for
from raykd.storage.remote.uploads import abort_uploads_of

T = TypeVar("T")

BUDGET_BYTES = 256 << 20
"""Bytes of all transfers of this process that may be in memory at a time."""

_THREADS = 8

# S3 takes 10,000 parts of a file: with parts of this size it may have 167 GB.
_PART_BYTES = 16 << 20
_PARTS_AT_ONCE = 4
_LEAST_IN_PARTS = 2 * _PART_BYTES
"""s3fs sends smaller files in one request."""

_WHOLE_BYTES = _PART_BYTES * _PARTS_AT_ONCE
"""Most of one file that is in memory at a time."""

_BLOCK_BYTES = 8 << 20

_TIDY_SECONDS = 5.0
"""For how long the store is tried again after an upload in vain."""

_md5 = functools.partial(hashlib.md5, usedforsecurity=False)

logger = logging.getLogger(__name__)


def upload(files: Iterable[tuple[Path, str]]) -> None:
    """Upload local files to URIs; each is compared with what the store then has.

    Raises:
        StorageError: The store refuses, or does not have what it was sent.
    """
    # Not pyarrow.fs.copy_files, which Ray uploads checkpoints with: it drops the errors of S3, and
    # what is missing looks uploaded (pyarrow 26.0.1; for a 403, endless 503, lost connections).
    at_once(lambda pair: _upload_file(*pair), files)


def download(files: Iterable[tuple[str, Path]]) -> None:
    """Fetch URIs into local files, whose directories are made."""
    at_once(lambda pair: _download_file(*pair), files)


def at_once(act: Callable[[T], None], things: Iterable[T]) -> None:
    """Act on each, on threads that try again as long as this one; raise the first error."""
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="raykd-transfer") as threads:
        running = [threads.submit(contextvars.copy_context().run, act, each) for each in things]
        try:
            for each in running:
                each.result()
        except BaseException:
            # Those under way end first: what they use goes with the block of the caller.
            threads.shutdown(cancel_futures=True)
            raise


def digest(path: Path) -> str:
    """Return the sha256 of a local file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_stored(filesystem: AbstractFileSystem, path: str) -> str:
    """Return the sha256 of a file in a store, of which only a block is in memory."""
    sha256 = hashlib.sha256()
    with filesystem.open(path, "rb", block_size=_BLOCK_BYTES, cache_type="readahead") as stream:
        while block := stream.read(_BLOCK_BYTES):
            sha256.update(block)
    return sha256.hexdigest()


class _Budget:
    """Bytes that may be in memory; whoever wants more waits."""

    def __init__(self, total: int) -> None:
        self._total = self._free = total
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, wanted: int) -> Iterator[None]:
        # Whoever wants more than there is would wait for ever.
        wanted = min(wanted, self._total)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= wanted)
            self._free -= wanted
        try:
            yield
        finally:
            with self._changed:
                self._free += wanted
                self._changed.notify_all()


_budget = _Budget(BUDGET_BYTES)


def _upload_file(path: Path, uri: str) -> None:
    size = path.stat().st_size
    try:
        with _budget.taken(min(size, _WHOLE_BYTES)):
            reach(uri, lambda filesystem, target: _put(filesystem, path, target))
            _require_stored(path, uri, size)
    except StorageError:
        with retry_for(_TIDY_SECONDS):
            _tidy(uri, size)
        raise
    _tidy(uri, size)


def _put(filesystem: AbstractFileSystem, path: Path, target: str) -> None:
    # A part that fails ends all of the upload, which s3fs then aborts at the server. The size of
    # the parts is given: the ETag to compare with follows from it.
    limits = (
        {"chunksize": _PART_BYTES, "max_concurrency": _PARTS_AT_ONCE} if is_s3(filesystem) else {}
    )
    filesystem.put_file(str(path), target, **limits)


def _tidy(uri: str, size: int) -> None:
    """Abort what attempts at a file have begun and not ended; a failure is told in the log alone.

    A request whose answer is lost, which s3fs repeats by itself, leaves an upload that no attempt
    knows of.
    """
    if size < _LEAST_IN_PARTS:
        return
    try:
        abort_uploads_of(uri)
    except StorageError as error:
        logger.warning("%s; parts of an upload may stay behind: see raykd clean", error)


def _require_stored(path: Path, uri: str, size: int) -> None:
    """Compare sizes, then hashes: by the store's own where it has one, else by reading back."""

    def look(filesystem: AbstractFileSystem, target: str) -> dict[str, object]:
        filesystem.invalidate_cache()
        return dict(filesystem.info(target))

    stored = reach(uri, look)
    if stored["size"] != size:
        message = f"{uri}: {stored['size']} bytes arrived of {size}"
        raise StorageError(message)
    etag = str(stored.get("ETag", "")).strip('"')
    if etag != _etag(path, size) and reach(uri, digest_stored) != digest(path):
        message = f"{uri}: what arrived differs from what was sent"
        raise StorageError(message)


def _etag(path: Path, size: int) -> str:
    """Return what S3 says of a file it has whole: the MD5, or that of its parts' and their number.

    Stores that encrypt, and some others, say something else.
    """
    if size < _LEAST_IN_PARTS:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, _md5).hexdigest()
    with path.open("rb") as stream:
        parts = [_md5(block).digest() for block in iter(lambda: stream.read(_PART_BYTES), b"")]
    return f"{_md5(b''.join(parts)).hexdigest()}-{len(parts)}"


def _download_file(uri: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)

    def get(filesystem: AbstractFileSystem, source: str) -> None:
        filesystem.invalidate_cache()
        size = int(filesystem.info(source)["size"])
        with _budget.taken(min(size, _WHOLE_BYTES)):
            filesystem.get_file(source, str(path))
        if (arrived := path.stat().st_size) != size:
            # Transient: the next attempt may get all of it.
            message = f"{arrived} bytes arrived of {size}"
            raise ConnectionError(message)

    reach(uri, get)
