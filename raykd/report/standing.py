"""Whether anybody is at a sweep, and what goes on with one that nobody is at."""

import datetime
import time
from dataclasses import dataclass
from typing import Literal

from raykd.report.units import duration
from raykd.sweep.ledger import Ledger

_Kind = Literal["over", "going", "stopped", "dead"]

_WORDS: dict[_Kind, str] = {
    "over": "over",
    "going": "still going",
    "stopped": "stopped",
    "dead": "not going on",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """How a sweep stands."""

    kind: _Kind
    """Over: nothing is left to do. Stopped: its driver ended in order, and runs wait. Dead: its
    driver is gone without a word."""

    driver: str | None
    """Which process is at it, or was when it died; None where none is."""

    heard_at: float | None
    """When that one was last heard, in seconds since the epoch."""

    command: str
    """What started it last, and goes on; empty where that was no command."""

    def __str__(self) -> str:
        """Return it in a word or two."""
        return _WORDS[self.kind]

    @property
    def text(self) -> str:
        """What a reader has to know, and to do, in sentences; empty for a sweep that is over."""
        if self.kind in ("over", "going"):
            return self.about_driver
        command = f": {self.command}" if self.command else "."
        return f"{self.about_driver} The same command goes on{command}"

    @property
    def about_driver(self) -> str:
        """Who is at it, or was; empty for a sweep that is over."""
        if self.kind == "over":
            return ""
        if self.driver is None or self.heard_at is None:
            return "No driver is at it."
        clock = datetime.datetime.fromtimestamp(self.heard_at, tz=datetime.UTC)
        # The heartbeat is by the clock of the driver's machine, which may be ahead of this one.
        ago = duration(max(time.time() - self.heard_at, 0))
        heard = f"last heard of {ago} ago, {clock:%Y-%m-%d %H:%M:%S} UTC"
        if self.kind == "going":
            return f"Its driver is {self.driver}, {heard}."
        return f"Its driver, {self.driver}, is dead: {heard}."


def standing_of(ledger: Ledger) -> Standing:
    """Return how a sweep stands at this moment."""
    lease = ledger.lease
    if ledger.is_over or lease is None:
        kind: _Kind = "over" if ledger.is_over else "stopped"
        return Standing(kind=kind, driver=None, heard_at=None, command=ledger.command)
    return Standing(
        kind="going" if ledger.is_driven else "dead",
        driver=f"process {lease.process_id} on {lease.host}",
        heard_at=lease.heartbeat,
        command=ledger.command,
    )
