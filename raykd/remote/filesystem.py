"""The file system behind a URI, set up so that raykd decides what is tried again."""

from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem
from pyarrow import fs

_S3 = {
    # One place counts attempts, raykd.remote.retry: nested retries multiply.
    "retries": {"mode": "standard", "total_max_attempts": 1},
    "connect_timeout": 5,
    "read_timeout": 30,
}


def filesystem(uri: str) -> tuple[Any, str]:
    """Return the fsspec file system of a URI, and the path in it."""
    protocol = fsspec.core.split_protocol(uri)[0]
    if protocol not in ("s3", "s3a"):
        return fsspec.core.url_to_fs(uri)  # type: ignore[no-any-return]  # fsspec is untyped
    of_user = fsspec.config.conf.get(protocol, {}).get("config_kwargs", {})
    return fsspec.core.url_to_fs(uri, config_kwargs=_S3 | of_user)  # type: ignore[no-any-return]


def arrow_filesystem(uri: str) -> tuple[fs.FileSystem, str]:
    """Return the file system of a URI, and the path in it, for a library that speaks to Arrow's.

    Arrow's own know fewer stores than fsspec, and put an empty object where a directory is to be,
    which some stores refuse. What fails is tried again by fsspec's: nobody else does.
    """
    found, path = fsspec.core.url_to_fs(uri)
    if isinstance(found, LocalFileSystem):
        return fs.LocalFileSystem(), path
    return fs.PyFileSystem(fs.FSSpecHandler(found)), path


def is_local(uri: str) -> bool:
    """Tell whether a URI lies on this machine's file system."""
    return isinstance(filesystem(uri)[0], LocalFileSystem)


def is_s3(found: Any) -> bool:
    """Tell whether an fsspec file system speaks S3."""
    return "s3" in found.protocol
