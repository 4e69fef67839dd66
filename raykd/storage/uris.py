"""One way to reach a URI: a local path, or anything fsspec knows such as ``s3://bucket/key``.

URIs are strings everywhere. Requests to a store that fail for a while are tried again, see
``storage.remote.retry``; directories that appear whole or not at all are in ``storage.published``.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from raykd.storage.remote import filesystem as filesystems
from raykd.storage.remote.complaints import is_missing
from raykd.storage.remote.creation import create_file, create_object, replace_file
from raykd.storage.remote.listing import below, require_readable
from raykd.storage.remote.names import require_inside
from raykd.storage.remote.ranges import Ranges
from raykd.storage.remote.retry import named, reach
from raykd.storage.remote.retry_limit import retry_for
from raykd.storage.remote.staging import staging_directory
from raykd.storage.remote.transfers import at_once, download

__all__ = [
    "absolute",
    "append_bytes",
    "create_bytes",
    "delete",
    "delete_many",
    "exists",
    "is_file",
    "is_local",
    "join",
    "list_files",
    "list_names",
    "local_copy",
    "local_path",
    "open_arrow",
    "read_bytes",
    "read_many",
    "real_path",
    "retry_for",
    "size_bytes",
    "write_bytes",
    "write_many",
]


def join(uri: str, *names: str) -> str:
    """Append path components to a URI."""
    return "/".join([uri.rstrip("/"), *names])


def absolute(uri: str) -> str:
    """Return a local path as an absolute one, ~ replaced, and a URI with a scheme as it is."""
    return uri if "://" in uri else str(local_path(uri))


def is_local(uri: str) -> bool:
    """Tell whether a URI lies on this machine's file system.

    Raises:
        StorageDeniedError: Its scheme is unknown, or needs a package that is not installed.
    """
    with named(uri):
        return filesystems.is_local(uri)


def local_path(uri: str) -> Path:
    """Return the path of a URI on this machine's file system."""
    with named(uri):
        return Path(filesystems.filesystem(uri)[1])


def real_path(uri: str) -> Path:
    """Return where on this machine's file system a URI leads: links are followed."""
    return Path(os.path.realpath(local_path(uri)))


def exists(uri: str) -> bool:
    """Tell whether anything is stored at a URI.

    Raises:
        StorageDeniedError: This process may not look.
    """

    def look(filesystem: AbstractFileSystem, path: str) -> bool:
        if isinstance(filesystem, LocalFileSystem):
            # Not fsspec's own, which takes what may not be seen for what is not there.
            return Path(path).exists()
        # Others write and delete there: an earlier listing would answer.
        filesystem.invalidate_cache()
        return bool(filesystem.exists(path))

    return reach(uri, look)


def is_file(uri: str) -> bool:
    """Tell whether a file, or anything else but a directory, is stored at a URI itself."""

    def look(filesystem: AbstractFileSystem, path: str) -> bool:
        if isinstance(filesystem, LocalFileSystem):
            return Path(path).exists() and not Path(path).is_dir()
        filesystem.invalidate_cache()
        return bool(filesystem.info(path)["type"] == "file")

    try:
        return reach(uri, look)
    except FileNotFoundError:
        return False


def read_bytes(uri: str, *, start: int = 0) -> bytes:
    """Return what is stored at a URI, from a position on.

    Raises:
        FileNotFoundError: Nothing is there.
        StorageError: It cannot be read.
    """

    def read(filesystem: AbstractFileSystem, path: str) -> bytes:
        # fsspec has one instance and one cache of listings per process: one from before another
        # process wrote the file would hide it (s3fs#851).
        filesystem.invalidate_cache(path)
        return bytes(filesystem.cat_file(path, start=start or None))

    return reach(uri, read)


def size_bytes(uri: str) -> int:
    """Return the size of what is stored at a URI, 0 where nothing is."""

    def size(filesystem: AbstractFileSystem, path: str) -> int:
        # Sizes come out of the cached listing, too.
        filesystem.invalidate_cache()
        return int(filesystem.size(path))

    try:
        return reach(uri, size)
    except FileNotFoundError:
        return 0


def append_bytes(uri: str, content: bytes) -> None:
    """Add to the end of a local file; object stores cannot do this."""
    with named(uri), local_path(uri).open("ab") as stream:
        stream.write(content)


def write_bytes(uri: str, content: bytes) -> None:
    """Replace what is stored at a URI, at once: readers see the old or the new content."""

    def write(filesystem: AbstractFileSystem, path: str) -> None:
        if isinstance(filesystem, LocalFileSystem):
            replace_file(Path(path), content)
        else:
            filesystem.pipe_file(path, content)

    reach(uri, write)


def read_many(uris: list[str]) -> dict[str, bytes]:
    """Return what is stored at each URI, all at once; without those where nothing is."""
    if not uris:
        return {}
    paths = {filesystems.filesystem(uri)[1]: uri for uri in uris}

    def read(filesystem: AbstractFileSystem, _: str) -> dict[str, object]:
        # Not cat, which takes names with [ or * for patterns.
        answers = filesystem.cat_ranges(list(paths), None, None, on_error="return")
        if broken := next((e for e in answers if _is_failure(e)), None):
            raise broken
        return dict(zip(paths, answers, strict=True))

    answers = reach(uris[0], read)
    return {
        paths[path]: content for path, content in answers.items() if isinstance(content, bytes)
    }


def write_many(contents: dict[str, bytes]) -> None:
    """Replace what is stored at each URI, remote ones all at once."""
    if not contents:
        return
    first = next(iter(contents))
    # Not pipe on a disk: it truncates each file and fills it, which readers would see.
    if is_local(first):
        for uri, content in contents.items():
            write_bytes(uri, content)
        return
    by_path = {filesystems.filesystem(uri)[1]: content for uri, content in contents.items()}
    reach(first, lambda filesystem, _: filesystem.pipe(by_path))


def create_bytes(uri: str, content: bytes) -> bool:
    """Store at a URI where nothing is: of several writers at once, exactly one succeeds.

    This holds on this machine's file systems, where readers see all or nothing, and for S3
    servers that know conditional puts, as AWS does. Elsewhere it is as exclusive as what fsspec
    offers there as ``mode="create"``: for some stores, only a look before the write.

    Returns:
        False where something is there, which stays. It may be this very content: a request is
        repeated when its answer is lost.
    """

    def create(filesystem: AbstractFileSystem, path: str) -> bool:
        if isinstance(filesystem, LocalFileSystem):
            return create_file(Path(path), content)
        return create_object(filesystem, path, content)

    return reach(uri, create)


def list_names(uri: str) -> list[str]:
    """Return the names directly below a URI, sorted; none when nothing is there."""

    def names(filesystem: AbstractFileSystem, path: str) -> list[str]:
        # Object stores are listed by several processes: a cached listing would be stale.
        filesystem.invalidate_cache()
        try:
            listed = filesystem.ls(path, detail=False)
        except FileNotFoundError:
            # Asked whether a bucket exists, s3fs takes any failure for a no.
            return []
        # Others mark folders of a store by a key that ends with a slash.
        return sorted(name for each in below(path, listed).values() if (name := each.rstrip("/")))

    return reach(uri, names)


def list_files(uri: str) -> dict[str, int]:
    """Return the files at any depth below a URI, by relative path, with their sizes in bytes."""

    def files(filesystem: AbstractFileSystem, path: str) -> dict[str, int]:
        filesystem.invalidate_cache()
        listed = filesystem.find(path, detail=True)
        return {
            name: int(listed[key]["size"])
            for key, name in below(path, listed).items()
            # Others mark empty folders of a store by such a key.
            if not name.endswith("/")
        }

    return reach(uri, files)


def delete(uri: str) -> None:
    """Remove one file; a directory is not removed, and where nothing is, nothing happens.

    What of a directory may go, ``raykd.storage.published.ownership`` decides.
    """

    def remove(filesystem: AbstractFileSystem, path: str) -> None:
        # Another process may tidy up at the same time.
        with suppress(FileNotFoundError):
            filesystem.rm_file(path)

    reach(uri, remove)


def delete_many(uri: str, names: Iterable[str]) -> None:
    """Remove files of a directory by their names; of a disk, also what is empty then.

    Args:
        uri: The directory.
        names: Relative to it; those that end with a slash are folders.
    """
    names = list(names)
    at_once(delete, [join(uri, name) for name in names if not name.endswith("/")])
    if is_local(uri):
        root = local_path(uri)
        folders = {Path(), *(parent for name in names for parent in Path(f"{name}_").parents)}
        for folder in sorted(folders, key=lambda each: len(each.parts), reverse=True):
            # Deepest first; one that holds what somebody else has put there stays.
            with suppress(OSError):
                (root / folder).rmdir()


def open_arrow(uri: str) -> pa.NativeFile:
    """Open a file for random access by Arrow; remote reads are tried again like all requests."""
    if is_local(uri):
        with named(uri):
            # Read, not mapped: mapped pages would count as this process's memory.
            return pa.OSFile(str(local_path(uri)))
    if not exists(uri):
        message = f"{uri}: nothing is there"
        raise FileNotFoundError(message)
    return pa.PythonFile(Ranges(uri, size=size_bytes(uri)), mode="r")


@contextmanager
def local_copy(uri: str) -> Iterator[Path]:
    """Yield a local path with what a directory URI holds, fetched where it is remote.

    Raises:
        FileNotFoundError: It is remote, and nothing is there.
        StorageDeniedError: This process may not read all of it: libraries call that missing.
    """
    if is_local(uri):
        path = local_path(uri)
        with named(uri):
            require_readable(path)
        yield path
        return
    if not (files := list_files(uri)):
        message = f"{uri}: nothing is there"
        raise FileNotFoundError(message)
    require_inside(files, uri=uri)
    with staging_directory(num_bytes=sum(files.values())) as path:
        download((join(uri, name), path / name) for name in files)
        yield path


def _is_failure(answer: object) -> bool:
    return isinstance(answer, Exception) and not is_missing(answer)
