"""What a preparation tells: how far it is, and what it did."""

from dataclasses import dataclass
from typing import Literal

from raykd.data.manifest import Manifest
from raykd.data.prepare.examples import Rejection


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a preparation is."""

    stage: Literal["surveying", "tokenising", "writing"]
    share: float | None
    """Estimated fraction of the stage that is done; None where nobody knows."""

    examples: int = 0
    tokens: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class RejectedRows:
    """Rows refused for one reason."""

    reason: str
    rows: int
    first: str
    """File and line (or row) of the first of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PrepareReport:
    """What a preparation did."""

    manifest: Manifest
    was_done: bool
    """Whether the same data set was there already, so that nothing was left to do."""

    seconds: float = 0.0
    examples: int = 0
    """Examples that were tokenised; with packing, documents."""

    tokens: int = 0
    truncated: int = 0
    rejected: tuple[RejectedRows, ...] = ()
    parts: int = 0
    reused_parts: int = 0
    """Parts that an earlier, interrupted start had finished."""


def located(rejection: Rejection) -> RejectedRows:
    """Return a rejection with the place of its first row as people look for it."""
    first = f"{rejection.uri}: {rejection.unit} {rejection.number}"
    return RejectedRows(reason=rejection.reason, rows=rejection.rows, first=first)
