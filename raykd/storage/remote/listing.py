"""What is stored below a URI, with times: directories of this machine and of stores alike."""

import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fsspec import AbstractFileSystem

from raykd.storage.remote.filesystem import filesystem, is_local
from raykd.storage.remote.retry import named, reach


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """A file, or a directory of this machine."""

    num_bytes: int
    modified_at: float
    """Seconds since the epoch, by the clock of the store."""


def stored(uri: str) -> dict[str, Stored]:
    """Return what lies at any depth below a URI, by relative path; symbolic links lead nowhere.

    Directories are there too where the store has them, and end with a slash.
    """
    if is_local(uri):
        with named(uri):
            return dict(_local(Path(filesystem(uri)[1])))
    return reach(uri, _remote)


def below(path: str, listed: Iterable[str]) -> dict[str, str]:
    """Return the relative name of each listed path that is below another, by the path.

    s3fs, having found nothing below a path, looks again whether the path itself is there: where
    another process has written below it meanwhile, it lists the path, as a directory. Others mark
    folders of a store by a key that ends with a slash: that of the path is not below it either.
    """
    start = f"{path.rstrip('/')}/"
    names = {key: key.removeprefix(start) for key in listed if key.startswith(start)}
    return {key: name for key, name in names.items() if name}


def require_readable(path: Path) -> None:
    """Check that this process may read a file, or all that is in a directory.

    Raises:
        PermissionError: The message names what it may not read.
    """
    for each in (path, *(path / name for name in dict(_local(path)))):
        if not os.access(each, os.R_OK, effective_ids=True) and each.exists():
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(each))


def _local(root: Path) -> Iterator[tuple[str, Stored]]:
    # os.walk skips by default what it may not read: a run without its files would look empty.
    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            raise error

    for directory, directories, files in os.walk(root, onerror=refuse):
        for name in [*directories, *files]:
            path = Path(directory, name)
            # A link to a directory counts as a file: what it leads to is not below the URI.
            end = "/" if name in directories and not path.is_symlink() else ""
            # What goes away meanwhile is not there.
            with suppress(FileNotFoundError):
                state = path.lstat()
                num_bytes = 0 if end else state.st_size
                yield (
                    f"{path.relative_to(root).as_posix()}{end}",
                    Stored(num_bytes=num_bytes, modified_at=state.st_mtime),
                )


def _remote(store: AbstractFileSystem, path: str) -> dict[str, Stored]:
    store.invalidate_cache()
    listed = store.find(path, detail=True)
    return {
        name: Stored(
            num_bytes=int(listed[key]["size"]), modified_at=_modified_at(store, key, listed[key])
        )
        for key, name in below(path, listed).items()
    }


def _modified_at(store: AbstractFileSystem, name: str, info: Mapping[str, object]) -> float:
    """Take the time from the listing, where it has one: another request each would be slow."""
    when = info.get("LastModified")
    if not isinstance(when, datetime):
        when = store.modified(name)
    return float(when.timestamp())
