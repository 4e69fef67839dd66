"""The file system behind a URI, set up so that raykd decides what is tried again.

URIs are literal: in none is a pattern, an option, or a chain of file systems.
"""

import functools
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import botocore
import fsspec
from botocore.config import Config
from botocore.session import Session
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem
from pyarrow import fs

from raykd.errors import ConfigError

_LOCAL = LocalFileSystem.protocol
_S3 = "s3"
_S3_PROTOCOLS = (_S3, "s3a")
_ATTEMPTS = {
    # One place counts attempts, raykd.storage.remote.retry: nested retries multiply.
    "retries": {"mode": "standard", "total_max_attempts": 1},
    "connect_timeout": 5,
    "read_timeout": 30,
}
_CHECKSUMS = ("request_checksum_calculation", "response_checksum_validation")
_AMAZON = re.compile(r"\.amazonaws\.[a-z.]+$")

_OPTION = "?versionId="
"""What s3fs takes, with all that follows it, for no part of a key."""


def filesystem(uri: str) -> tuple[AbstractFileSystem, str]:
    """Return the fsspec file system of a URI, and the path in it.

    Raises:
        ConfigError: The store would take the URI for another one.
        ValueError: Its scheme is unknown.
    """
    return _opened(uri, _ATTEMPTS)


def retrying_filesystem(uri: str) -> tuple[AbstractFileSystem, str]:
    """Return a file system that itself tries again what fails, for libraries that do not."""
    return _opened(uri, {})


def arrow_filesystem(uri: str) -> tuple[fs.FileSystem, str]:
    """Return the file system of a URI, and the path in it, for a library that speaks to Arrow's.

    Arrow's own know fewer stores than fsspec, and put an empty object where a directory is to be,
    which some stores refuse.
    """
    store, path = retrying_filesystem(uri)
    if isinstance(store, LocalFileSystem):
        return fs.LocalFileSystem(), path
    return fs.PyFileSystem(fs.FSSpecHandler(store)), path


def is_local(uri: str) -> bool:
    """Tell whether a URI lies on this machine's file system."""
    return not _names_s3(uri) and isinstance(filesystem(uri)[0], LocalFileSystem)


def is_s3(store: AbstractFileSystem) -> bool:
    """Tell whether an fsspec file system speaks S3."""
    return _S3 in store.protocol


@functools.cache
def checksum_options() -> dict[str, str]:
    """Return when clients of S3 send and compare checksums, as decided once in a process.

    Theirs is always (boto3#4392), which Amazon's S3 knows, and needs where objects are locked.
    Other servers refuse what is sent, or answer a range of an object with the checksum of all of
    it. What the user has set, in the environment or a profile, holds everywhere.
    """
    given = _given_by_user()
    session = Session(
        session_vars={n: (n, f"AWS_{n.upper()}", "when_required", None) for n in _CHECKSUMS},
        profile=given.get("profile"),
    )
    # Of the many ways to set an endpoint a client alone knows all; this one sends no request, and
    # unsigned it needs no credentials.
    client = session.create_client(
        _S3,
        endpoint_url=given.get("endpoint_url", given.get("client_kwargs", {}).get("endpoint_url")),
        config=Config(signature_version=botocore.UNSIGNED),
    )
    if _AMAZON.search(str(urlsplit(client.meta.endpoint_url).hostname)):
        return {}
    return {name: getattr(client.meta.config, name) for name in _CHECKSUMS}


def _opened(uri: str, attempts: dict[str, object]) -> tuple[AbstractFileSystem, str]:
    """Do as fsspec's own ``url_to_fs``, which takes ``::`` for the link of a chain."""
    scheme, separator, rest = uri.partition("://")
    if not separator or scheme in _LOCAL:
        path = os.path.expanduser(rest if separator else uri)  # noqa: PTH111  Path's raises
        return LocalFileSystem(), str(Path(path).absolute())
    kind = fsspec.get_filesystem_class(scheme)
    path = kind._strip_protocol(uri)  # noqa: SLF001  as fsspec's own functions do
    _require_literal(uri, path)
    options = kind._get_kwargs_from_urls(uri)  # noqa: SLF001
    if _names_s3(uri):
        # The user's own settings last: they hold against all of raykd's.
        of_user = _given_by_user().get("config_kwargs", {})
        options |= {"config_kwargs": attempts | checksum_options() | of_user}
    return kind(**options), path


def _names_s3(uri: str) -> bool:
    return uri.startswith(tuple(f"{protocol}://" for protocol in _S3_PROTOCOLS))


def _given_by_user() -> dict[str, Any]:
    """Return the arguments of S3 file systems that fsspec's own configuration has."""
    return dict(fsspec.config.apply_config(fsspec.get_filesystem_class(_S3), {}))


def _require_literal(uri: str, path: str) -> None:
    """Refuse parts that some stores drop or resolve, so that it would be another place."""
    parts = path.strip("/").split("/")
    if path.strip("/") and not {"", ".", ".."}.isdisjoint(parts):
        message = f"{uri}: has a part that is empty, . or ..; write it without"
        raise ConfigError(message)
    if _OPTION in path:
        message = f"{uri}: names a version with {_OPTION}; name the object itself"
        raise ConfigError(message)
