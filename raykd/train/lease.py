"""A lease in storage keeps two drivers from writing one run.

It is a small file with the holder and the time of its last heartbeat. A driver that finds a
fresh heartbeat of a live one refuses to start; the lease of a dead one is taken over.
"""

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

from raykd import storage
from raykd.errors import ConfigError, RaykdError

HEARTBEAT_SECONDS = 10.0

EXPIRY_SECONDS = 45.0
"""Silence after which the holder counts as dead: a few heartbeats."""

ORPHAN_SECONDS = 25.0
"""Ray's workers go on for up to 20 s after their driver was killed (measured on Ray 2.60)."""

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


@contextmanager
def held_lease(uri: str, *, has_workers: bool) -> Iterator[None]:
    """Hold the lease at a URI while the block runs.

    Where the holder was killed on this machine, wait until its workers must be gone, too.

    Raises:
        ConfigError: Another live driver holds it; the message says who and since when.
    """
    while (found := read_lease(uri)) is not None and _seconds_to_wait(found, uri) > 0:
        time.sleep(1.0)
    lease = Lease(
        holder=uuid.uuid4().hex,
        host=socket.gethostname(),
        process_id=os.getpid(),
        has_workers=has_workers,
        heartbeat=time.time(),
    )
    write_lease(uri, lease)
    stopped = threading.Event()
    thread = threading.Thread(
        target=_beat, args=(uri, lease, stopped), name="raykd-lease", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
        if _is_held(uri, lease):
            storage.delete(uri)


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


def _is_held(uri: str, lease: Lease) -> bool:
    found = read_lease(uri)
    return found is not None and found.holder == lease.holder


def _seconds_to_wait(lease: Lease, uri: str) -> float:
    silent_seconds = time.time() - lease.heartbeat
    if silent_seconds > EXPIRY_SECONDS:
        return 0.0
    if _is_dead(lease):
        return ORPHAN_SECONDS - silent_seconds if lease.has_workers else 0.0
    message = (
        f"{uri}: the run is being written by process {lease.process_id} on {lease.host}, last "
        f"seen {max(silent_seconds, 0):.0f} s ago. Wait for it or stop it; it counts as dead "
        f"after {EXPIRY_SECONDS:.0f} s of silence"
    )
    raise ConfigError(message)


def _is_dead(lease: Lease) -> bool:
    """Tell whether the holder was a process of this machine and is gone."""
    if lease.host != socket.gethostname():
        return False
    try:
        os.kill(lease.process_id, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        # It lives, and belongs to another user.
        return False
    return False
