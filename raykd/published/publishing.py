"""Publish directories, from one process or from several that each bring a part."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raykd import __version__, storage, strict_json
from raykd.errors import StorageError
from raykd.published.directory import SCHEMA_VERSION, described
from raykd.published.places import Files, Part, Place, place_of
from raykd.remote.patience import PATIENCE_SECONDS
from raykd.remote.retry import named

_POLL_SECONDS = 0.05
_REMOTE_POLL_SECONDS = 1.0


@dataclass(kw_only=True, slots=True)
class Publication:
    """A directory on its way to being published."""

    path: Path
    """Local directory to write files into."""

    content: dict[str, Any] = field(default_factory=dict)
    """What the manifest says about the directory beside its files; JSON values."""


@contextmanager
def publishing(uri: str, *, kind: str) -> Iterator[Publication]:
    """Publish at a URI what the caller writes into the yielded directory.

    What stood at the URI is replaced in the moment of the commit. When the caller raises,
    nothing is published and what was written aside is removed.

    Args:
        uri: Directory to appear.
        kind: What it is, such as ``data`` or ``checkpoint``; readers ask for it.

    Raises:
        StorageError: Storage refuses or has no room.
    """
    with _gathered(uri, Part(), num_bytes=0) as (place, directory):
        publication = Publication(path=directory)
        yield publication
        files = _bring(place, directory)
        _commit(place, uri, kind, files=files, content=publication.content)


def publish_part(
    uri: str,
    *,
    kind: str,
    part: Part,
    write: Callable[[Publication], None],
    num_bytes: int,
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Publish one process's files of a directory; return when that process has done its share.

    Args:
        uri: Directory to appear when all parts are there.
        kind: What it is.
        part: Which of the processes this is.
        write: Writes the files; the content that part 0 gives goes into the manifest.
        num_bytes: About what it writes: room for it is checked first.
        should_stop: Ends the wait for other parts.

    Raises:
        StorageError: Storage refuses or has no room, or another part does not arrive.
    """
    with _gathered(uri, part, num_bytes=num_bytes) as (place, directory):
        publication = Publication(path=directory)
        write(publication)
        files = _bring(place, directory)
        if part.index > 0:
            place.note(files)
            return
        for other in range(1, part.count):
            files |= _awaited(place, uri, other, should_stop)
        _commit(place, uri, kind, files=files, content=publication.content)


@contextmanager
def _gathered(uri: str, part: Part, *, num_bytes: int) -> Iterator[tuple[Place, Path]]:
    place = place_of(uri, part)
    try:
        with place.staged(num_bytes=num_bytes) as directory:
            yield place, directory
    except BaseException:
        place.abandon()
        raise


def _bring(place: Place, directory: Path) -> Files:
    with named(str(directory)):
        files = {
            path.relative_to(directory).as_posix(): described(path)
            for path in sorted(directory.rglob("*"))
            if path.is_file()
        }
        place.bring(directory, list(files))
    return files


def _awaited(place: Place, uri: str, part: int, should_stop: Callable[[], bool]) -> Files:
    """Wait for another process to have brought its files."""
    pause = threading.Event()
    seconds = _POLL_SECONDS if storage.is_local(uri) else _REMOTE_POLL_SECONDS
    start = time.monotonic()
    while (files := place.noted(part)) is None:
        waited = time.monotonic() - start
        if waited > PATIENCE_SECONDS or should_stop():
            message = f"{uri}: worker {part} did not bring its part in {waited:.0f} s"
            raise StorageError(message)
        pause.wait(seconds)
    return files


def _commit(place: Place, uri: str, kind: str, *, files: Files, content: dict[str, Any]) -> None:
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "raykd_version": __version__,
        "kind": kind,
        "files": dict(sorted(files.items())),
        "content": content,
    }
    text = strict_json.file_content(manifest)
    with named(uri):
        place.commit(text, hashlib.sha256(text).hexdigest().encode())
