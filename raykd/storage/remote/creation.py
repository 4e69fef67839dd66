"""Files and objects that appear as a whole, or only where nothing is."""

import errno
import os
import uuid
from http import HTTPStatus
from pathlib import Path

from botocore.exceptions import ClientError
from fsspec import AbstractFileSystem

_CONFLICT_ATTEMPTS = 10
"""S3 asks for another try when two conditional requests, or one and a deletion, meet."""

_NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
"""How file systems refuse hard links that have none, such as FAT and some user-space ones."""


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError as error:
        # Some file systems say so of what they do not let anybody make.
        message = f"no directory can be made at {path}"
        raise PermissionError(message) from error


def replace_file(target: Path, content: bytes) -> None:
    """Write a file of this machine, whatever was there: readers see the old one or the new one."""
    _make_directory(target.parent)
    # Beside the target: a rename is atomic within one file system only. raykd clean knows such
    # names, which a process that is killed here leaves.
    aside = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        aside.write_bytes(content)
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)


def create_file(target: Path, content: bytes) -> bool:
    """Write a file of this machine where nothing is; return False where something is."""
    _make_directory(target.parent)
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


def create_object(filesystem: AbstractFileSystem, path: str, content: bytes) -> bool:
    """Write an object where nothing is; return False where the store says that something is."""
    for attempt in range(1, _CONFLICT_ATTEMPTS + 1):
        try:
            filesystem.pipe_file(path, content, mode="create")
        except FileExistsError:
            return False
        except OSError as error:
            status = _http_status(error)
            # s3fs raises FileExistsError only where the server names the condition that failed;
            # others answer with the bare status.
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
