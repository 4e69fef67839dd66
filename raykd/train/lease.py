"""A lease in storage keeps two drivers from writing one run.

It is a small file with the holder and the time of its last heartbeat. A driver that finds a
fresh heartbeat of a live one refuses to start; the lease of a dead one is taken over.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from raykd import storage
from raykd.errors import ConfigError

HEARTBEAT_SECONDS = 10.0

EXPIRY_SECONDS = 45.0
"""Silence after which the holder counts as dead: a few heartbeats."""

ORPHAN_SECONDS = 25.0
"""Ray's workers go on for up to 20 s after their driver was killed (measured on Ray 2.60)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """Who is writing a run."""

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
    while (found := _read(uri)) is not None and _seconds_to_wait(found, uri) > 0:
        time.sleep(1.0)
    stopped = threading.Event()
    thread = threading.Thread(
        target=_beat, args=(uri, has_workers, stopped), name="raykd-lease", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
        storage.delete(uri)


def _beat(uri: str, has_workers: bool, stopped: threading.Event) -> None:  # noqa: FBT001  a thread's arguments are positional
    while True:
        lease = Lease(
            host=socket.gethostname(),
            process_id=os.getpid(),
            has_workers=has_workers,
            heartbeat=time.time(),
        )
        storage.write_bytes(uri, json.dumps(asdict(lease)).encode())
        if stopped.wait(HEARTBEAT_SECONDS):
            return


def _read(uri: str) -> Lease | None:
    try:
        return Lease(**json.loads(storage.read_bytes(uri)))
    except FileNotFoundError:
        return None


def _seconds_to_wait(lease: Lease, uri: str) -> float:
    silent_seconds = time.time() - lease.heartbeat
    if silent_seconds > EXPIRY_SECONDS:
        return 0.0
    if _is_dead(lease):
        return ORPHAN_SECONDS - silent_seconds if lease.has_workers else 0.0
    message = (
        f"{uri}: the run is being written by process {lease.process_id} on {lease.host}, last "
        f"seen {silent_seconds:.0f} s ago. Wait for it or stop it; it counts as dead after "
        f"{EXPIRY_SECONDS:.0f} s of silence"
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
    return False
