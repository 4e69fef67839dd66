"""What a preparation tells: how far it is, and what it did."""

from dataclasses import dataclass
from typing import Literal

from raykd.data.manifest import Manifest
from raykd.data.prepare.raw_rows import Finding


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a preparation is."""

    stage: Literal["surveying", "tokenising", "writing"]
    share: float | None
    """Estimated fraction of the stage that is done; None where nobody knows."""

    examples: int = 0
    tokens: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Located:
    """An observation on rows or words."""

    what: str
    count: int
    first: str
    """File and line (or row) of the first of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PrepareReport:
    """What a preparation did."""

    manifest: Manifest
    was_done: bool
    """Whether the same data set was there already, so that nothing was left to do."""

    was_changed: bool = False
    """Whether it was there, prepared from what its sources or tokenizer held before."""

    seconds: float = 0.0
    examples: int = 0
    """Examples that were tokenised; with packing, documents."""

    tokens: int = 0
    truncated: int = 0
    rejected: tuple[Located, ...] = ()
    """Rows that were refused, by reason."""

    remarks: tuple[Located, ...] = ()
    """What rows lack that were not refused."""

    parts: int = 0
    reused_parts: int = 0
    """Parts that an earlier, interrupted start had finished."""


def located(finding: Finding) -> Located:
    """Return a finding with the place of its first row as people look for it."""
    first = f"{finding.uri}: {finding.unit} {finding.number}"
    return Located(what=finding.what, count=finding.count, first=first)
