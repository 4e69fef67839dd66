"""Read published directories: nothing but what was committed, byte by byte."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raykd.errors import PublicationError
from raykd.storage import uris
from raykd.storage.remote.names import is_inside
from raykd.storage.remote.staging import staging_directory
from raykd.storage.remote.transfers import digest, download

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
COMMITTED = "COMMITTED"


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """A committed directory, as its manifest describes it."""

    uri: str
    files: dict[str, dict[str, Any]]
    """Relative path to ``bytes`` and ``sha256``."""

    content: dict[str, Any]
    fingerprint: str
    """The sha256 of the manifest, and so of everything in the directory."""


def is_committed(uri: str) -> bool:
    """Tell whether a directory claims to be whole."""
    return uris.exists(uris.join(uri, COMMITTED))


def read_commit(uri: str) -> str:
    """Return the fingerprint that a directory was committed with.

    Raises:
        FileNotFoundError: It is not committed.
    """
    return uris.read_bytes(uris.join(uri, COMMITTED)).decode(errors="replace").strip()


def read_published(uri: str, *, kind: str) -> Published:
    """Return what a committed directory's manifest says.

    Raises:
        PublicationError: The directory is not there, not committed, or of another kind.
    """
    try:
        # In the reverse order of the writer: where COMMITTED is there, the manifest is.
        commit = read_commit(uri)
        text = uris.read_bytes(uris.join(uri, MANIFEST))
    except FileNotFoundError as error:
        message = f"{uri}: holds no committed {kind} directory: {error}"
        raise PublicationError(message) from error
    # Of two writers at one place, the manifest of one beside the commit of the other is noticed.
    if (fingerprint := hashlib.sha256(text).hexdigest()) != commit:
        message = f"{uris.join(uri, MANIFEST)}: is not the manifest that was committed"
        raise PublicationError(message)
    manifest = parsed(uri, text, kind)
    return Published(
        uri=uri, files=manifest["files"], content=manifest["content"], fingerprint=fingerprint
    )


def parsed(uri: str, text: bytes, kind: str | None) -> dict[str, Any]:
    """Return what a manifest says.

    Args:
        uri: The directory.
        text: What its manifest.json holds.
        kind: The kind it must be of; any where None.

    Raises:
        PublicationError: It is no manifest, or of another kind.
    """
    where = uris.join(uri, MANIFEST)
    try:
        manifest = json.loads(text)
        version, has_kind = manifest["schema_version"], manifest["kind"]
        files, content = manifest["files"], manifest["content"]
        is_whole = isinstance(content, dict) and all(
            type(entry.get("bytes")) is int and isinstance(entry.get("sha256"), str)
            for entry in files.values()
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        message = f"{where}: is no manifest: {type(error).__name__}: {error}"
        raise PublicationError(message) from error
    if (version, has_kind) != (SCHEMA_VERSION, kind or has_kind):
        message = (
            f"{uri}: is a {has_kind} directory of schema {version}, but a {kind or has_kind} of "
            f"schema {SCHEMA_VERSION} is needed"
        )
        raise PublicationError(message)
    # Before any of them is fetched: whoever wrote the manifest may have meant a file elsewhere.
    if outside := [name for name in files if not is_inside(name)]:
        message = f"{where}: names {outside[0]!r}, which is outside of the directory"
        raise PublicationError(message)
    if not is_whole:
        message = f"{where}: does not say the bytes and sha256 of every file"
        raise PublicationError(message)
    return dict(manifest)


def verify(published: Published) -> None:
    """Compare every file of a published directory with its manifest.

    Raises:
        PublicationError: A file is missing or differs; the message names it.
        StorageError: Storage cannot be reached, which says nothing about the files.
    """
    with fetched(published):
        pass


@contextmanager
def fetched(published: Published) -> Iterator[Path]:
    """Yield a local path with the files of a published directory, all as its manifest says.

    Raises:
        PublicationError: A file is missing or differs; the message names it.
    """
    if uris.is_local(published.uri):
        path = uris.local_path(published.uri)
        _compare(published, path)
        yield path
        return
    num_bytes = sum(file["bytes"] for file in published.files.values())
    with staging_directory(num_bytes=num_bytes) as path:
        try:
            download((uris.join(published.uri, name), path / name) for name in published.files)
        except FileNotFoundError as error:
            raise PublicationError(str(error)) from error
        _compare(published, path)
        yield path


def described(path: Path) -> dict[str, Any]:
    """Return what a manifest says of a file."""
    return {"bytes": path.stat().st_size, "sha256": digest(path)}


def _compare(published: Published, path: Path) -> None:
    for name, recorded in published.files.items():
        uri = uris.join(published.uri, name)
        try:
            stored = described(path / name)
        except OSError as error:
            message = f"{uri}: cannot be read: {error}"
            raise PublicationError(message) from error
        if stored != recorded:
            message = (
                f"{uri}: has {stored['bytes']} bytes, sha256 {stored['sha256'][:12]}, but the "
                f"manifest says {recorded['bytes']} bytes, {recorded['sha256'][:12]}"
            )
            raise PublicationError(message)
