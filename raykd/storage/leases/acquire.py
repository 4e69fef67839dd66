"""Take a lease that nobody holds: of several drivers that try, exactly one succeeds.

Where a store overwrites what it was to create, drivers hold an election: each writes that it is a
candidate, then lists the others. The only candidate is elected; of several, those whose names sort
later give way. Of two that write at once, the one that lists later sees the other, so that this
needs no time limits.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from raykd.errors import ConfigError
from raykd.storage import uris
from raykd.storage.leases.records import (
    EXPIRY_SECONDS,
    Lease,
    candidate_uri,
    files_beside,
    holders_of,
    is_dead,
    is_held,
    read_lease,
    remove,
    successor_uri,
    write_lease,
)
from raykd.storage.remote.probe import creates_exclusively

ORPHAN_SECONDS = 25.0
"""Ray's workers go on for up to 20 s after their driver was killed (measured on Ray 2.60)."""

ELECTION_SECONDS = 10.0
"""Longest candidacy: whoever is a candidate for much longer counts as dead."""

ELECTION_POLL_SECONDS = 0.1


@dataclass(kw_only=True, slots=True)
class Wait:
    """A driver's wait for the holders before it."""

    uri: str
    is_patient: bool
    """Whether live holders are waited for."""

    on_wait: Callable[[str], None] | None
    """None once it is told."""

    seen: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Holder to its last heartbeat and when this process first saw that."""

    def is_over(self, lease: Lease) -> bool:
        """Tell whether the holder is dead, its workers too; refuse a live one, unless it waits."""
        silent_seconds = self._silent_seconds(lease)
        if silent_seconds > EXPIRY_SECONDS:
            return True
        is_gone = is_dead(lease)
        if is_gone and (not lease.has_workers or silent_seconds >= ORPHAN_SECONDS):
            return True
        holder = (
            f"{self.uri}: is being written by process {lease.process_id} on "
            f"{lease.host}, last seen {silent_seconds:.0f} s ago"
        )
        if not is_gone and not self.is_patient:
            message = (
                f"{holder}. Wait for it or stop it; it counts as dead after "
                f"{EXPIRY_SECONDS:.0f} s of silence"
            )
            raise ConfigError(message)
        if self.on_wait is not None:
            self.on_wait(f"{holder}; waiting for its end")
            self.on_wait = None
        return False

    def is_given_up(self, candidate: Lease) -> bool:
        """Tell whether one that wanted the lease has died over it."""
        return self._silent_seconds(candidate) > EXPIRY_SECONDS or is_dead(candidate)

    def _silent_seconds(self, lease: Lease) -> float:
        """Go by this clock where the holder's is ahead: its last heartbeat must not last."""
        heartbeat, seen_at = self.seen.get(lease.holder, (None, 0.0))
        if heartbeat != lease.heartbeat:
            seen_at = time.monotonic()
            self.seen[lease.holder] = lease.heartbeat, seen_at
        # Two clocks: the wall clock knows of the silence before this process looked; the monotonic
        # one bounds it where the holder's clock is ahead.
        return max(time.time() - lease.heartbeat, time.monotonic() - seen_at)


def try_acquire(uri: str, lease: Lease, wait: Wait, *, after: list[Lease]) -> bool:
    """Follow the last of these holders, unless another driver has done so."""
    if creates_exclusively(uri):
        return _followed(uri, lease, after)
    if _candidates(uri, wait):
        time.sleep(ELECTION_POLL_SECONDS)
        return False
    flag = candidate_uri(uri, lease)
    # Written before the others are listed: of two, at least one sees the other.
    write_lease(flag, lease)
    try:
        # In this order: whoever was elected before has taken the lease before it ended its
        # candidacy, so that the holders, read after the candidates, show it. A driver that was
        # suspended meanwhile may count as dead by now, and must not go on.
        return (
            _is_alone(uri, lease, wait)
            and holders_of(uri) == after
            and time.time() - lease.heartbeat < 2 * ELECTION_SECONDS
            and _followed(uri, lease, after)
        )
    finally:
        remove(flag)


def _is_alone(uri: str, lease: Lease, wait: Wait) -> bool:
    """Wait until the candidates that come later in the order have given way."""
    end = time.monotonic() + ELECTION_SECONDS
    while others := _candidates(uri, wait) - {lease.holder}:
        if min(others) < lease.holder or time.monotonic() > end:
            return False
        time.sleep(ELECTION_POLL_SECONDS)
    return True


def _candidates(uri: str, wait: Wait) -> set[str]:
    """Return the names of the candidates; those that have died are removed."""
    candidates: set[str] = set()
    for place in files_beside(uri, "wants"):
        candidate = read_lease(place)
        if candidate is not None and wait.is_given_up(candidate):
            remove(place)
        elif candidate is not None:
            candidates.add(candidate.holder)
    return candidates


def _followed(uri: str, lease: Lease, holders: list[Lease]) -> bool:
    place = successor_uri(uri, holders[-1]) if holders else uri
    is_created = _created(place, lease)
    # Also where the answer to the first request was lost, and its repetition was refused.
    if is_held(uri, lease):
        # From here on the lease names this holder itself, and the chain of the dead can go.
        if holders:
            write_lease(uri, lease)
        return True
    if is_created and holders:
        # The place was free because a takeover or the release has ended since: what was created
        # would follow a holder that nobody looks for any more.
        remove(place)
    return False


def _created(place: str, lease: Lease) -> bool:
    if creates_exclusively(place):
        return uris.create_bytes(place, lease.text)
    write_lease(place, lease)
    return True
