"""A lease in storage keeps two drivers from writing one run.

It is a small file with the holder and the time of its last heartbeat. A driver that finds a
fresh heartbeat of a live one refuses to start, or waits; of those that find a dead one, exactly
one takes over. Its files, see ``leases.records``, are created only where nothing is, so one
driver succeeds; a driver may die at any moment of a takeover and is followed like any other. The
files of dead holders go when the lease is released.

A holder that finds another one in its place, as after its machine was suspended, has lost the
lease and must stop.
"""

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from raykd.errors import RaykdError, StoppedError
from raykd.machine.repeating import repeating
from raykd.storage import uris
from raykd.storage.leases.acquire import Wait, try_acquire
from raykd.storage.leases.records import (
    Lease,
    files_beside,
    holders_of,
    is_held,
    remove,
    successor_uri,
    write_lease,
)

HEARTBEAT_SECONDS = 10.0

POLL_SECONDS = 1.0
REMOTE_POLL_SECONDS = 5.0

_RETRY_SECONDS = 5.0
"""The next beat comes soon: a store that is away must not hold up the end of a run."""

logger = logging.getLogger(__name__)


class HeldLease:
    """The lease while its block runs."""

    def __init__(self) -> None:
        self._lost = threading.Event()

    @property
    def is_lost(self) -> bool:
        """Whether another driver has it: then this one must write no more."""
        return self._lost.is_set()

    def lose(self) -> None:
        """Note that another driver has it."""
        self._lost.set()


@contextmanager
def held_lease(
    uri: str,
    *,
    has_workers: bool,
    waits: bool = False,
    on_wait: Callable[[str], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[HeldLease]:
    """Hold the lease at a URI while the block runs; the block looks whether it is lost.

    Where the holder was killed on this machine, wait until its workers must be gone, too.

    Args:
        uri: The lease's file.
        has_workers: Whether processes beside this one write.
        waits: Wait for another live driver rather than refuse.
        on_wait: Told once, when waiting starts, for whom.
        should_stop: Called again and again while it waits.

    Raises:
        ConfigError: Another live driver holds it; the message says who and since when.
        StoppedError: It was requested to stop while it waited.
    """
    wait = Wait(uri=uri, is_patient=waits, on_wait=on_wait)
    lease = _acquired(uri, wait, has_workers=has_workers, should_stop=should_stop)
    held = HeldLease()
    try:
        with repeating(HEARTBEAT_SECONDS, partial(_beat, uri, lease, held), name="raykd-lease"):
            yield held
    finally:
        # After the last heartbeat: one under way would write the lease again.
        _release(uri, lease)


def _acquired(
    uri: str, wait: Wait, *, has_workers: bool, should_stop: Callable[[], bool]
) -> Lease:
    while True:
        holders = holders_of(uri)
        if holders and not wait.is_over(holders[-1]):
            if should_stop():
                message = f"{uri}: stopped while waiting for its holder to end"
                raise StoppedError(message)
            time.sleep(POLL_SECONDS if uris.is_local(uri) else REMOTE_POLL_SECONDS)
            continue
        # Another name for each attempt: a lost one may have been given a successor.
        lease = Lease(
            holder=uuid.uuid4().hex,
            host=socket.gethostname(),
            process_id=os.getpid(),
            has_workers=has_workers,
            heartbeat=time.time(),
        )
        if try_acquire(uri, lease, wait, after=holders):
            return lease


def _beat(uri: str, lease: Lease, held: HeldLease) -> bool:
    """Renew the lease; return True where another driver has taken it."""
    try:
        with uris.retry_for(_RETRY_SECONDS):
            # Looked at before each write: a lease that was taken over must not be written back.
            if not is_held(uri, lease):
                logger.error("%s: is taken by another driver, or gone: this one stops", uri)
                held.lose()
                return True
            write_lease(uri, replace(lease, heartbeat=time.time()))
    except RaykdError as error:
        # The next beat may get through, long before the lease expires.
        logger.warning("%s: the lease was not renewed: %s", uri, error)
    return False


def _release(uri: str, lease: Lease) -> None:
    """Remove the lease and what dead holders left of it, unless another driver holds it."""
    try:
        with uris.retry_for(_RETRY_SECONDS):
            if not is_held(uri, lease):
                return
            # The lease goes last: a process that dies midway leaves one that is taken over, and no
            # file that nothing refers to. What names a follower of this holder is the follower's.
            for place in files_beside(uri, "after"):
                if place != successor_uri(uri, lease):
                    remove(place)
            remove(uri)
    except RaykdError as error:
        # It expires; what the block has done, or failed with, counts.
        logger.warning("%s: the lease stays behind: %s", uri, error)
