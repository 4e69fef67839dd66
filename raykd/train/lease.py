"""A lease in storage keeps two drivers from writing one run.

It is a small file with the holder and the time of its last heartbeat. A driver that finds a
fresh heartbeat of a live one refuses to start, or waits; of those that find a dead one, exactly
one takes over.

    lease.json                  the holder
    lease.json.after.<holder>   who follows that holder, which has died

Both are created only where nothing is, so one driver succeeds. Successors form a chain, and its
last one holds the lease: a driver may die at any moment of a takeover and is followed like any
other. The files of dead holders go when the lease is released.
"""

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace

from raykd import storage
from raykd.errors import ConfigError, RaykdError

HEARTBEAT_SECONDS = 10.0

EXPIRY_SECONDS = 45.0
"""Silence after which the holder counts as dead: a few heartbeats. Clocks may differ by less."""

ORPHAN_SECONDS = 25.0
"""Ray's workers go on for up to 20 s after their driver was killed (measured on Ray 2.60)."""

POLL_SECONDS = 1.0
REMOTE_POLL_SECONDS = 5.0

logger = logging.getLogger(__name__)


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


@dataclass(kw_only=True, slots=True)
class _Wait:
    """A driver's wait for the holders before it."""

    uri: str
    is_patient: bool
    """Whether live holders are waited for."""

    on_wait: Callable[[str], None] | None
    """None once it is told."""

    seen: Lease | None = None
    seen_at: float = 0.0

    def is_over(self, lease: Lease) -> bool:
        """Tell whether the holder is dead, its workers too; refuse a live one, unless patient."""
        silent_seconds = self._silent_seconds(lease)
        if silent_seconds > EXPIRY_SECONDS:
            return True
        is_dead = _is_dead(lease)
        if is_dead and (not lease.has_workers or silent_seconds >= ORPHAN_SECONDS):
            return True
        holder = (
            f"{self.uri}: is being written by process {lease.process_id} on "
            f"{lease.host}, last seen {silent_seconds:.0f} s ago"
        )
        if not is_dead and not self.is_patient:
            message = (
                f"{holder}. Wait for it or stop it; it counts as dead after "
                f"{EXPIRY_SECONDS:.0f} s of silence"
            )
            raise ConfigError(message)
        if self.on_wait is not None:
            self.on_wait(f"{holder}; waiting for its end")
            self.on_wait = None
        return False

    def _silent_seconds(self, lease: Lease) -> float:
        """Go by this clock where the holder's is ahead: its last heartbeat must not last."""
        if lease != self.seen:
            self.seen, self.seen_at = lease, time.monotonic()
        return max(time.time() - lease.heartbeat, time.monotonic() - self.seen_at)


@contextmanager
def held_lease(
    uri: str,
    *,
    has_workers: bool,
    waits: bool = False,
    on_wait: Callable[[str], None] | None = None,
) -> Iterator[None]:
    """Hold the lease at a URI while the block runs.

    Where the holder was killed on this machine, wait until its workers must be gone, too.

    Args:
        uri: Of the lease's file.
        has_workers: Whether processes beside this one write.
        waits: Wait for another live driver rather than refuse.
        on_wait: Told once, when waiting starts, for whom.

    Raises:
        ConfigError: Another live driver holds it; the message says who and since when.
    """
    wait = _Wait(uri=uri, is_patient=waits, on_wait=on_wait)
    lease = _acquired(uri, wait, has_workers=has_workers)
    stopped = threading.Event()
    beat = (uri, lease, stopped)
    thread = threading.Thread(target=_beat, args=beat, name="raykd-lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
        _release(uri, lease)


def read_lease(uri: str) -> Lease | None:
    """Return the lease at a URI, if there is one.

    Raises:
        ConfigError: What is there is no lease.
    """
    try:
        text = storage.read_bytes(uri)
    except FileNotFoundError:
        return None
    try:
        return Lease(**json.loads(text))
    except (ValueError, TypeError) as error:
        message = f"{uri}: is no lease: {error}; delete it if nothing writes this run"
        raise ConfigError(message) from error


def write_lease(uri: str, lease: Lease) -> None:
    """Replace the lease at a URI."""
    storage.write_bytes(uri, json.dumps(asdict(lease)).encode())


def _acquired(uri: str, wait: _Wait, *, has_workers: bool) -> Lease:
    while True:
        holders = _holders(uri)
        if holders and not wait.is_over(holders[-1]):
            time.sleep(POLL_SECONDS if storage.is_local(uri) else REMOTE_POLL_SECONDS)
            continue
        # Another name for each attempt: a lost one may have been given a successor.
        lease = Lease(
            holder=uuid.uuid4().hex,
            host=socket.gethostname(),
            process_id=os.getpid(),
            has_workers=has_workers,
            heartbeat=time.time(),
        )
        if _took(uri, holders, lease):
            return lease


def _holders(uri: str) -> list[Lease]:
    """Return the holder that the lease names and its successors; the last one holds it."""
    holders: list[Lease] = []
    place = uri
    while (found := read_lease(place)) is not None:
        holders.append(found)
        place = _successor_uri(uri, found)
    return holders


def _took(uri: str, holders: list[Lease], lease: Lease) -> bool:
    """Follow the last of these holders, unless another driver has done so."""
    place = _successor_uri(uri, holders[-1]) if holders else uri
    is_created = storage.create_bytes(place, json.dumps(asdict(lease)).encode())
    # Also where the answer to the first request was lost, and its repetition was refused.
    if _is_held(uri, lease):
        if holders:
            write_lease(uri, lease)
        return True
    if is_created and holders:
        # The place was free because a takeover or the release has ended since.
        _delete(place)
    return False


def _beat(uri: str, lease: Lease, stopped: threading.Event) -> None:
    """Renew the lease until stopped, or until another driver has taken it."""
    while not stopped.wait(HEARTBEAT_SECONDS):
        try:
            if not _is_held(uri, lease):
                logger.error("%s: another driver writes this run, too; stop one of them", uri)
                return
            write_lease(uri, replace(lease, heartbeat=time.time()))
        except RaykdError as error:
            # The next beat may get through, long before the lease expires.
            logger.warning("%s: the lease was not renewed: %s", uri, error)


def _release(uri: str, lease: Lease) -> None:
    """Remove the lease and what dead holders left of it, unless another driver holds it."""
    if not _is_held(uri, lease):
        return
    directory = uri.rpartition("/")[0]
    for place in (storage.join(directory, name) for name in storage.list_names(directory)):
        if place.startswith(f"{uri}.after.") and place != _successor_uri(uri, lease):
            _delete(place)
    _delete(uri)


def _delete(uri: str) -> None:
    # Another driver may tidy up at the same time.
    with suppress(FileNotFoundError):
        storage.delete(uri)


def _successor_uri(uri: str, lease: Lease) -> str:
    return f"{uri}.after.{lease.holder}"


def _is_held(uri: str, lease: Lease) -> bool:
    return [found.holder for found in _holders(uri)][-1:] == [lease.holder]


def _is_dead(lease: Lease) -> bool:
    """Tell whether the holder was a process of this machine and is gone."""
    if lease.host != socket.gethostname():
        return False
    try:
        os.kill(lease.process_id, 0)
    except (ProcessLookupError, PermissionError) as error:
        # One that belongs to another user lives.
        return isinstance(error, ProcessLookupError)
    return False
