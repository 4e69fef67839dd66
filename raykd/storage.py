"""One way to reach a URI, and published directories: whole or not there at all.

A URI is a string: a local path, or anything fsspec knows such as ``s3://bucket/key``.

A *published directory* is what raykd leaves behind for others to read:

    manifest.json   size and sha256 of every file, what kind of directory it is, its content
    COMMITTED       the sha256 of manifest.json; written last, its presence is the commit

A local one is written in a sibling folder and renamed; a remote one is uploaded file by file,
each verified. So a reader sees all of it or, without COMMITTED, knows that it is not there.
"""

import errno
import hashlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
from botocore.exceptions import BotoCoreError, ClientError
from fsspec.implementations.local import LocalFileSystem

from raykd import __version__
from raykd.errors import PublicationError, StorageError

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
COMMITTED = "COMMITTED"

_BLOCK_BYTES = 8 << 20

_CONFLICT_ATTEMPTS = 10
"""S3 asks for another try when two conditional requests, or one and a deletion, meet."""

_NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
"""How file systems refuse hard links that have none, such as FAT and some user-space ones."""


@dataclass(kw_only=True, slots=True)
class Publication:
    """A directory on its way to being published."""

    path: Path
    """Local directory to write files into."""

    content: dict[str, Any] = field(default_factory=dict)
    """What the manifest says about the directory beside its files; JSON values."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """A committed directory, as its manifest describes it."""

    uri: str
    files: dict[str, dict[str, Any]]
    """Relative path to ``bytes`` and ``sha256``."""

    content: dict[str, Any]
    fingerprint: str
    """The sha256 of the manifest, and so of everything in the directory."""


def join(uri: str, *names: str) -> str:
    """Append path components to a URI."""
    return "/".join([uri.rstrip("/"), *names])


def is_local(uri: str) -> bool:
    """Tell whether a URI lies on this machine's file system."""
    with _named(uri):
        return isinstance(_filesystem(uri)[0], LocalFileSystem)


def absolute(uri: str) -> str:
    """Return a local path as an absolute one, ~ replaced, and a URI with a scheme as it is."""
    return uri if "://" in uri else str(Path(uri).expanduser().absolute())


def exists(uri: str) -> bool:
    """Tell whether anything is stored at a URI."""
    with _named(uri):
        filesystem, path = _filesystem(uri)
        return bool(filesystem.exists(path))


def read_bytes(uri: str, *, start: int = 0) -> bytes:
    """Return what is stored at a URI, from a position on.

    Raises:
        StorageError: Nothing is there, or it cannot be read.
    """
    with _named(uri):
        filesystem, path = _filesystem(uri)
        # A listing from before another process wrote it would hide it.
        filesystem.invalidate_cache(path)
        return bytes(filesystem.cat_file(path, start=start or None))


def size_bytes(uri: str) -> int:
    """Return the size of what is stored at a URI, 0 where nothing is."""
    with _named(uri):
        filesystem, path = _filesystem(uri)
        filesystem.invalidate_cache()
        return int(filesystem.size(path)) if filesystem.exists(path) else 0


def append_bytes(uri: str, content: bytes) -> None:
    """Add to the end of a local file; object stores cannot do this."""
    with _named(uri), Path(_filesystem(uri)[1]).open("ab") as stream:
        stream.write(content)


def write_bytes(uri: str, content: bytes) -> None:
    """Replace what is stored at a URI, at once: readers see the old or the new content."""
    with _named(uri):
        filesystem, path = _filesystem(uri)
        if not isinstance(filesystem, LocalFileSystem):
            filesystem.pipe_file(path, content)
            return
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        aside.write_bytes(content)
        aside.replace(target)


def read_many(uris: list[str]) -> dict[str, bytes]:
    """Return what is stored at each URI, all at once; without those where nothing is."""
    if not uris:
        return {}
    with _named(uris[0]):
        filesystem, _ = _filesystem(uris[0])
        paths = {_filesystem(uri)[1]: uri for uri in uris}
        found = filesystem.cat(list(paths), on_error="return")
    if broken := next((e for e in found.values() if _is_failure(e)), None):
        message = f"{uris[0]}: {type(broken).__name__}: {broken}"
        raise StorageError(message) from broken
    return {paths[path]: content for path, content in found.items() if isinstance(content, bytes)}


def write_many(contents: dict[str, bytes]) -> None:
    """Replace what is stored at each URI, remote ones all at once."""
    if not contents:
        return
    first = next(iter(contents))
    if is_local(first):
        for uri, content in contents.items():
            write_bytes(uri, content)
        return
    with _named(first):
        _filesystem(first)[0].pipe(
            {_filesystem(uri)[1]: content for uri, content in contents.items()}
        )


def create_bytes(uri: str, content: bytes) -> bool:
    """Store at a URI where nothing is: of several writers at once, exactly one succeeds.

    This holds on this machine's file systems, where readers see all or nothing, and for S3
    servers that know conditional puts, as AWS does. Elsewhere it is as exclusive as what fsspec
    offers there as ``mode="create"``: for some stores, only a look before the write.

    Returns:
        False where something is there, which stays. It may be this very content: a request is
        repeated when its answer is lost.
    """
    with _named(uri):
        filesystem, path = _filesystem(uri)
        if isinstance(filesystem, LocalFileSystem):
            return _create_file(Path(path), content)
        return _create_object(filesystem, path, content)


def list_names(uri: str) -> list[str]:
    """Return the names directly below a URI, sorted; none when nothing is there."""
    with _named(uri):
        filesystem, path = _filesystem(uri)
        # Object stores are listed by several processes: a cached listing would be stale.
        filesystem.invalidate_cache()
        if not filesystem.exists(path):
            return []
        listed = filesystem.ls(path, detail=False)
        return sorted(name.rstrip("/").rsplit("/", 1)[-1] for name in listed)


def delete(uri: str) -> None:
    """Remove everything at a URI; a published directory loses its commit first."""
    with _named(uri):
        filesystem, path = _filesystem(uri)
        if filesystem.exists(commit := join(path, COMMITTED)):
            filesystem.rm_file(commit)
        if filesystem.exists(path):
            filesystem.rm(path, recursive=True)


def open_arrow(uri: str) -> pa.NativeFile:
    """Open a file for random access by Arrow."""
    with _named(uri):
        filesystem, path = _filesystem(uri)
        if isinstance(filesystem, LocalFileSystem):
            # Read, not mapped: mapped pages would count as this process's memory.
            return pa.OSFile(path)
        # Arrow asks for exactly the ranges it needs: no read-ahead, nothing kept.
        return pa.PythonFile(filesystem.open(path, "rb", cache_type="none"), mode="r")


@contextmanager
def local_copy(uri: str) -> Iterator[Path]:
    """Yield a local path with what a directory URI holds, fetched where it is remote."""
    if is_local(uri):
        yield Path(_filesystem(uri)[1])
        return
    with tempfile.TemporaryDirectory(prefix="raykd-") as directory:
        with _named(uri):
            filesystem, path = _filesystem(uri)
            filesystem.get(f"{path}/", directory, recursive=True)
        yield Path(directory)


@contextmanager
def publishing(uri: str, *, kind: str) -> Iterator[Publication]:
    """Publish at a URI what the caller writes into the yielded directory.

    What stood at the URI is replaced in the moment of the commit. When the caller raises,
    nothing is published and what was written aside is removed.

    Args:
        uri: Directory to appear.
        kind: What it is, such as ``data`` or ``checkpoint``; readers ask for it.
    """
    aside = _aside(uri)
    try:
        publication = Publication(path=aside)
        yield publication
        _seal(publication, kind)
        with _named(uri):
            if is_local(uri):
                _rename(aside, Path(_filesystem(uri)[1]))
            else:
                _upload(aside, uri)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def read_published(uri: str, *, kind: str) -> Published:
    """Return what a committed directory's manifest says.

    Raises:
        PublicationError: The directory is not there, not committed, or of another kind.
    """
    try:
        commit = read_bytes(join(uri, COMMITTED)).decode().strip()
        text = read_bytes(join(uri, MANIFEST))
        if (digest := hashlib.sha256(text).hexdigest()) != commit:
            message = f"{join(uri, MANIFEST)}: is not the manifest that was committed"
            raise PublicationError(message)
        manifest = json.loads(text)
    except FileNotFoundError as error:
        message = f"{uri}: holds no committed {kind} directory: {error}"
        raise PublicationError(message) from error
    if manifest.get("schema_version") != SCHEMA_VERSION or manifest.get("kind") != kind:
        message = (
            f"{uri}: is a {manifest.get('kind')} directory of schema "
            f"{manifest.get('schema_version')}, but a {kind} of schema {SCHEMA_VERSION} is needed"
        )
        raise PublicationError(message)
    return Published(
        uri=uri, files=manifest["files"], content=manifest["content"], fingerprint=digest
    )


def verify(published: Published) -> None:
    """Compare every file of a published directory with its manifest.

    Raises:
        PublicationError: A file is missing or differs; the message names it.
    """
    for name, recorded in published.files.items():
        uri = join(published.uri, name)
        try:
            found = _described(_blocks(uri))
        except (StorageError, FileNotFoundError) as error:
            message = f"{uri}: cannot be read: {error}"
            raise PublicationError(message) from error
        if found != recorded:
            message = (
                f"{uri}: has {found['bytes']} bytes, sha256 {found['sha256'][:12]}, but the "
                f"manifest says {recorded['bytes']} bytes, {recorded['sha256'][:12]}"
            )
            raise PublicationError(message)


def _filesystem(uri: str) -> tuple[Any, str]:
    return fsspec.core.url_to_fs(uri)  # type: ignore[no-any-return]  # fsspec is untyped


@contextmanager
def _named(uri: str) -> Iterator[None]:
    """Name the URI in whatever storage complains about; a missing file stays just that."""
    try:
        yield
    except FileNotFoundError as error:
        message = f"{uri}: nothing is there"
        raise FileNotFoundError(message) from error
    except (OSError, BotoCoreError, ValueError, ImportError) as error:
        message = f"{uri}: {type(error).__name__}: {error}"
        raise StorageError(message) from error


def _is_failure(found: Any) -> bool:
    return isinstance(found, Exception) and not isinstance(found, FileNotFoundError)


def _create_file(target: Path, content: bytes) -> bool:
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        aside.write_bytes(content)
        _link(aside, target)
    except FileExistsError:
        return False
    finally:
        aside.unlink(missing_ok=True)
    return True


def _link(aside: Path, target: Path) -> None:
    """Give a file its place; unlike a rename, this replaces nothing."""
    try:
        os.link(aside, target)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        # Exclusive all the same; for a moment, readers may see the first half.
        with target.open("xb") as stream:
            stream.write(aside.read_bytes())


def _create_object(filesystem: Any, path: str, content: bytes) -> bool:
    for attempt in range(1, _CONFLICT_ATTEMPTS + 1):
        try:
            filesystem.pipe_file(path, content, mode="create")
        except FileExistsError:
            return False
        except OSError as error:
            status = _http_status(error)
            # s3fs knows it only where the server names the condition that failed.
            if status == HTTPStatus.PRECONDITION_FAILED:
                return False
            if status != HTTPStatus.CONFLICT or attempt == _CONFLICT_ATTEMPTS:
                raise
        else:
            break
    return True


def _http_status(error: OSError) -> int | None:
    """Return what an S3 server answered, where that is the cause of an error."""
    cause = error.__cause__
    if not isinstance(cause, ClientError):
        return None
    return int(cause.response["ResponseMetadata"]["HTTPStatusCode"])


def _aside(uri: str) -> Path:
    if not is_local(uri):
        return Path(tempfile.mkdtemp(prefix="raykd-"))
    with _named(uri):
        target = Path(_filesystem(uri)[1])
        aside = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.partial")
        aside.mkdir(parents=True)
        return aside


def _seal(publication: Publication, kind: str) -> None:
    root = publication.path
    files = {
        path.relative_to(root).as_posix(): _described(_blocks(str(path)))
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "raykd_version": __version__,
        "kind": kind,
        "files": files,
        "content": publication.content,
    }
    text = json.dumps(manifest, indent=1, ensure_ascii=False).encode()
    (root / MANIFEST).write_bytes(text)
    (root / COMMITTED).write_text(hashlib.sha256(text).hexdigest())


def _described(blocks: Iterator[bytes]) -> dict[str, Any]:
    size, digest = 0, hashlib.sha256()
    for block in blocks:
        size += len(block)
        digest.update(block)
    return {"bytes": size, "sha256": digest.hexdigest()}


def _blocks(uri: str) -> Iterator[bytes]:
    with _named(uri):
        filesystem, path = _filesystem(uri)
        with filesystem.open(path, "rb") as stream:
            while block := stream.read(_BLOCK_BYTES):
                yield block


def _rename(aside: Path, target: Path) -> None:
    """Put a complete local directory in its place; a directory that stood there goes."""
    replaced = aside.with_name(f"{aside.name}.replaced")
    if target.exists():
        target.rename(replaced)
    aside.rename(target)
    shutil.rmtree(replaced, ignore_errors=True)


def _upload(aside: Path, uri: str) -> None:
    """Upload file by file, the commit last; each size is read back."""
    filesystem, path = _filesystem(uri)
    if filesystem.exists(commit := join(path, COMMITTED)):
        filesystem.rm_file(commit)
    names = [p.relative_to(aside).as_posix() for p in sorted(aside.rglob("*")) if p.is_file()]
    for name in [*(n for n in names if n not in (MANIFEST, COMMITTED)), MANIFEST, COMMITTED]:
        filesystem.put_file(str(aside / name), join(path, name))
        stored = filesystem.info(join(path, name))["size"]
        if stored != (expected := (aside / name).stat().st_size):
            message = f"{join(uri, name)}: {stored} bytes arrived of {expected}"
            raise OSError(message)
