"""Publish directories, from one process or from several that each bring a part."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from raykd import __version__, strict_json
from raykd.errors import StorageError
from raykd.storage import uris
from raykd.storage.published.directory import MANIFEST, SCHEMA_VERSION, described
from raykd.storage.published.places import Files, Part, Place, Target, place_of
from raykd.storage.remote.retry import named
from raykd.storage.remote.retry_limit import RETRY_SECONDS

_POLL_SECONDS = 0.05
_REMOTE_POLL_SECONDS = 1.0


@dataclass(kw_only=True, slots=True)
class Publication:
    """A directory on its way to being published."""

    path: Path
    """Local directory to write files into."""

    content: dict[str, object] = field(default_factory=dict)
    """What the manifest says about the directory beside its files; JSON values."""


@contextmanager
def publishing(uri: str, *, kind: str, overwrites: bool = False) -> Iterator[Publication]:
    """Publish at a URI what the caller writes into the yielded directory.

    When the caller raises, nothing is published and what was written aside is removed.

    Args:
        uri: Directory to appear.
        kind: What it is, such as ``data`` or ``checkpoint``; readers ask for it.
        overwrites: Whether an earlier one of the kind is replaced, in the moment of the commit.

    Raises:
        PublicationError: Something else is there.
        StorageError: Storage refuses or is full.
    """
    target = Target(uri=uri, kind=kind, overwrites=overwrites)
    with _gathered(target, Part(), num_bytes=0) as (place, directory):
        publication = Publication(path=directory)
        yield publication
        files = _bring(place, directory)
        _commit(place, target, files=files, content=publication.content)


def write_files(uri: str, contents: Mapping[str, bytes], *, kind: str) -> None:
    """Replace the files of a directory one by one, which is read meanwhile and never committed.

    Args:
        uri: The directory.
        contents: By relative path.
        kind: What it is: by that the files are known for raykd's.
    """
    files = {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in contents.items()
    }
    # First: a file that no manifest names would be somebody else's, and never replaced.
    uris.write_bytes(uris.join(uri, MANIFEST), _manifest(kind, files, content={}))
    for name, content in contents.items():
        uris.write_bytes(uris.join(uri, name), content)


def publish_part(
    uri: str,
    *,
    kind: str,
    part: Part,
    write: Callable[[Publication], None],
    num_bytes: int,
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Publish one process's files of a directory; return when that process has done its part.

    An earlier one of the kind is replaced.

    Args:
        uri: Directory to appear when all parts are there.
        kind: What it is.
        part: Which of the processes this is.
        write: Writes the files; the content that part 0 gives goes into the manifest.
        num_bytes: About what it writes: the free space is checked first.
        should_stop: Ends the wait for other parts.

    Raises:
        PublicationError: Something else is there.
        StorageError: Storage refuses or is full, or another part does not arrive.
    """
    target = Target(uri=uri, kind=kind, overwrites=True)
    with _gathered(target, part, num_bytes=num_bytes) as (place, directory):
        publication = Publication(path=directory)
        write(publication)
        files = _bring(place, directory)
        if part.index > 0:
            place.note(files)
            return
        for other in range(1, part.count):
            files |= _awaited(place, uri, other, should_stop)
        _commit(place, target, files=files, content=publication.content)


@contextmanager
def _gathered(target: Target, part: Part, *, num_bytes: int) -> Iterator[tuple[Place, Path]]:
    # Before anything is written. One of the parts is enough: the others bring files to one place.
    if part.index == 0:
        target.require_free()
    place = place_of(target, part)
    try:
        with place.staged(num_bytes=num_bytes) as directory:
            yield place, directory
    except BaseException:  # an interrupt, too
        place.abandon()
        raise


def _bring(place: Place, directory: Path) -> Files:
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    # Libraries leave some files, and copies of temporary directories this one, to this user alone:
    # the umask, by which the directory around it was made, says who else may read.
    mode = directory.parent.stat().st_mode & 0o666
    with named(str(directory)):
        for path in paths:
            path.chmod(mode)
        files = {path.relative_to(directory).as_posix(): described(path) for path in paths}
        place.bring(directory, list(files))
    return files


def _awaited(place: Place, uri: str, part: int, should_stop: Callable[[], bool]) -> Files:
    """Wait for another process to have brought its files."""
    pause = threading.Event()
    seconds = _POLL_SECONDS if uris.is_local(uri) else _REMOTE_POLL_SECONDS
    start = time.monotonic()
    while (files := place.noted(part)) is None:
        waited = time.monotonic() - start
        if waited > RETRY_SECONDS or should_stop():
            message = f"{uri}: worker {part} did not bring its part in {waited:.0f} s"
            raise StorageError(message)
        pause.wait(seconds)
    return files


def _commit(place: Place, target: Target, *, files: Files, content: dict[str, object]) -> None:
    text = _manifest(target.kind, files, content=content)
    with named(target.uri):
        place.commit(text, hashlib.sha256(text).hexdigest().encode())


def _manifest(kind: str, files: Files, *, content: dict[str, object]) -> bytes:
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "raykd_version": __version__,
        "kind": kind,
        # Sorted: the fingerprint must not depend on how workers have divided the files.
        "files": dict(sorted(files.items())),
        "content": content,
    }
    return strict_json.file_content(manifest)
