"""Which rows lie in which file: ranges of a shard's rows, by arithmetic on the manifest alone."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any

from raykd.data.json_values import fields_of, integer, path_within, text
from raykd.data.manifest import Shard

_TOKENS = 1 << 20
"""Of a part: so much work at most is lost when its writer is killed."""

_BYTES = 64 << 20
"""Of a part: it is held in memory while it is written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Coverage:
    """Rows that a run needs: shards, and in how many mask epochs they are read."""

    shards: tuple[Shard, ...]
    epochs: dict[str, int]
    """By language, at least one."""


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Part:
    """Neighbouring rows of one shard, as they are masked in one epoch."""

    epoch: int
    shard: str
    """Its path in the data."""

    start: int
    """The first of its rows, counted in the shard."""

    rows: int
    language: str

    @property
    def path(self) -> str:
        """Where its records lie in the cache."""
        return f"records/{self.epoch}/{self.shard.removesuffix('.arrow')}/{self.start:09d}.arrow"


@dataclass(frozen=True, kw_only=True, slots=True)
class FinishedPart:
    """A part that is written."""

    part: Part
    num_bytes: int
    sha256: str
    first_row_id: int
    last_row_id: int
    positions: int
    """Scored ones, of all its rows."""


def parts_of(coverages: Iterable[Coverage], *, bytes_per_token: float) -> Iterator[Part]:
    """Yield the parts of what a run needs, each once.

    Args:
        coverages: What the run reads.
        bytes_per_token: About what is kept of each token of the data.
    """
    for coverage in coverages:
        for shard in coverage.shards:
            rows_each = _rows_each(shard, bytes_per_token)
            for epoch in range(coverage.epochs[shard.language]):
                for start in range(0, shard.rows, rows_each):
                    yield Part(
                        epoch=epoch,
                        shard=shard.path,
                        start=start,
                        rows=min(rows_each, shard.rows - start),
                        language=shard.language,
                    )


def _rows_each(shard: Shard, bytes_per_token: float) -> int:
    tokens = min(_TOKENS, _BYTES / max(bytes_per_token, 1e-9))
    return max(1, int(tokens * shard.rows / max(shard.tokens, 1)))


def finished_content(finished: FinishedPart) -> dict[str, Any]:
    """Return a finished part as JSON values."""
    return asdict(finished)


def finished_from(content: Any, where: str) -> FinishedPart:
    """Read a finished part.

    Raises:
        ValueError: It is none; the message says what is wrong.
    """
    given = fields_of(content, tuple(field.name for field in fields(FinishedPart)), where)
    part = fields_of(given["part"], tuple(field.name for field in fields(Part)), f"{where}.part")
    return FinishedPart(
        part=Part(
            epoch=integer(part["epoch"], f"{where}.part.epoch", minimum=0),
            shard=path_within(part["shard"], f"{where}.part.shard"),
            start=integer(part["start"], f"{where}.part.start", minimum=0),
            rows=integer(part["rows"], f"{where}.part.rows", minimum=1),
            language=text(part["language"], f"{where}.part.language"),
        ),
        num_bytes=integer(given["num_bytes"], f"{where}.num_bytes", minimum=1),
        sha256=text(given["sha256"], f"{where}.sha256"),
        first_row_id=integer(given["first_row_id"], f"{where}.first_row_id", minimum=0),
        last_row_id=integer(given["last_row_id"], f"{where}.last_row_id", minimum=0),
        positions=integer(given["positions"], f"{where}.positions", minimum=0),
    )


def lacking(coverages: Iterable[Coverage], finished: Iterable[FinishedPart]) -> str | None:
    """Return what a run needs and the parts do not have, in words; None where they have all."""
    there: Counter[tuple[int, str]] = Counter()
    for each in finished:
        there[each.part.epoch, each.part.shard] += each.part.rows
    for coverage in coverages:
        for shard in coverage.shards:
            for epoch in range(coverage.epochs[shard.language]):
                if (found := there[epoch, shard.path]) < shard.rows:
                    return (
                        f"{found:,} of {shard.rows:,} rows of {shard.path} as they are masked in "
                        f"epoch {epoch}"
                    )
    return None
