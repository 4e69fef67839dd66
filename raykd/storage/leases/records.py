"""The files of a lease: who holds it, who follows whom, and who of them is dead.

    lease.json                  the holder
    lease.json.after.<holder>   who follows that holder, which has died
    lease.json.wants.<holder>   a candidate, where the store cannot create exclusively

Successors form a chain, and its last one holds the lease.
"""

import json
import os
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass

from raykd.errors import ConfigError
from raykd.storage import uris

EXPIRY_SECONDS = 45.0
"""Silence after which the holder counts as dead: a few heartbeats. Clocks may differ by less."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """Who is writing a run."""

    holder: str
    """A random name: process ids come again."""

    host: str
    process_id: int
    has_workers: bool
    """Whether processes beside the holder write, which outlive it for a while."""

    heartbeat: float
    """Seconds since the epoch."""

    @property
    def text(self) -> bytes:
        """What its file holds."""
        return json.dumps(asdict(self)).encode()


def read_lease(uri: str) -> Lease | None:
    """Return the lease at a URI, if there is one.

    Raises:
        ConfigError: What is there is no lease.
    """
    try:
        text = uris.read_bytes(uri)
    except FileNotFoundError:
        return None
    try:
        return Lease(**json.loads(text))
    except (ValueError, TypeError) as error:
        message = f"{uri}: is no lease: {error}; delete it if nothing writes this run"
        raise ConfigError(message) from error


def write_lease(uri: str, lease: Lease) -> None:
    """Replace the lease at a URI."""
    uris.write_bytes(uri, lease.text)


def holders_of(uri: str) -> list[Lease]:
    """Return the holder that the lease names and its successors; the last one holds it."""
    holders: list[Lease] = []
    place = uri
    while (holder := read_lease(place)) is not None:
        holders.append(holder)
        place = successor_uri(uri, holder)
    return holders


def is_held(uri: str, lease: Lease) -> bool:
    """Tell whether this is the one that holds the lease."""
    return [each.holder for each in holders_of(uri)][-1:] == [lease.holder]


def successor_uri(uri: str, lease: Lease) -> str:
    """Return where the one that follows a holder says so."""
    return f"{uri}.after.{lease.holder}"


def candidate_uri(uri: str, lease: Lease) -> str:
    """Return where one that is about to take the lease says so."""
    return f"{uri}.wants.{lease.holder}"


def files_beside(uri: str, kind: str) -> list[str]:
    """Return the URIs of the files of a kind, ``after`` or ``wants``, of the lease at a URI."""
    directory, _, name = uri.rpartition("/")
    names = uris.list_names(directory)
    return [uris.join(directory, n) for n in names if n.startswith(f"{name}.{kind}.")]


def remove(uri: str) -> None:
    """Remove one of the files; another driver may tidy up at the same time."""
    with suppress(FileNotFoundError):
        uris.delete(uri)


def is_dead(lease: Lease) -> bool:
    """Tell whether the holder was a process of this machine and is gone."""
    # Of another machine, or another container, a process id says nothing.
    if lease.host != socket.gethostname():
        return False
    try:
        os.kill(lease.process_id, 0)  # sends nothing, only looks
    except (ProcessLookupError, PermissionError) as error:
        # One that belongs to another user lives.
        return isinstance(error, ProcessLookupError)
    return False


def is_alive(lease: Lease) -> bool:
    """Tell whether the holder has renewed the lease lately, and is not known to be gone."""
    return time.time() - lease.heartbeat <= EXPIRY_SECONDS and not is_dead(lease)
