"""Which rows lie in which file: ranges of a shard's rows, by arithmetic on the manifest alone."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace

from raykd.data.json_values import fields_of, integer, path_within, text
from raykd.data.manifest import Shard

_TOKENS = 1 << 18
"""Tokens of a part at most: so much work is lost when its writer is killed."""

_BYTES = 64 << 20
"""Bytes of a part at most: it is held in memory while it is written."""

_PARTS = 32
"""Parts of a shard at least, where it is large enough: that many can write side by side."""

_LEAST_TOKENS = 1 << 12
"""Tokens of a part at least, though its shard then has fewer of them: files cost, too."""

RECORDS = re.compile(r"records/\d+/.+/\d{9,}-\d{9,}\.[0-9a-f]{12}\.arrow")
"""Where files of records lie in a cache."""

_ENDING = ".arrow"
_SHOWN = 12
"""Digits of a hash in the name of a file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Coverage:
    """Rows of one shard that a run needs, as they are masked in one epoch."""

    shard: Shard
    epoch: int
    ranges: tuple[range, ...]
    """Rows of the shard, rising, with others between them."""

    @property
    def rows(self) -> int:
        """How many they are."""
        return sum(map(len, self.ranges))

    @property
    def tokens(self) -> float:
        """About how many tokens they have."""
        return self.shard.tokens * self.rows / max(self.shard.rows, 1)


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Part:
    """Neighbouring rows of one shard, as they are masked in one epoch."""

    epoch: int
    shard: str
    """Its path in the data."""

    start: int
    """The first of its rows, counted in the shard: of a fraction, among those that are kept."""

    rows: int
    language: str

    @property
    def path(self) -> str:
        """Where its records and the note on them lie in the cache, but for the endings."""
        shard = self.shard.removesuffix(".arrow")
        return f"records/{self.epoch}/{shard}/{self.start:09d}-{self.start + self.rows:09d}"


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

    @property
    def path(self) -> str:
        """Where its records lie: two that write the same part may differ in the last digits."""
        return records_path(self.part, self.sha256)


def records_path(part: Part, sha256: str) -> str:
    """Return where the records of a part lie in the cache."""
    return f"{part.path}.{sha256[:_SHOWN]}{_ENDING}"


def part_path_of(records: str) -> str:
    """Return the path of the part whose records lie at another."""
    return records.removesuffix(_ENDING).rpartition(".")[0]


def parts_of(coverages: Iterable[Coverage], *, bytes_per_token: float) -> Iterator[Part]:
    """Cut rows into parts.

    They are cut at places that the shard decides, so that runs that need other rows, too, agree on
    most parts.

    Args:
        coverages: The rows, each once.
        bytes_per_token: About what is kept of each token of the data.
    """
    for coverage in coverages:
        shard = coverage.shard
        rows_each = _rows_each(shard, bytes_per_token)
        for rows in coverage.ranges:
            start = rows.start
            while start < rows.stop:
                stop = min(rows.stop, (start // rows_each + 1) * rows_each)
                yield Part(
                    epoch=coverage.epoch,
                    shard=shard.path,
                    start=start,
                    rows=stop - start,
                    language=shard.language,
                )
                start = stop


def _rows_each(shard: Shard, bytes_per_token: float) -> int:
    tokens = min(
        _TOKENS,
        _BYTES / max(bytes_per_token, 1e-9),
        max(shard.tokens / _PARTS, _LEAST_TOKENS),
    )
    return max(1, int(tokens * shard.rows / max(shard.tokens, 1)))


def lacking(coverages: Iterable[Coverage], finished: Iterable[FinishedPart]) -> Iterator[Coverage]:
    """Yield the rows that a run needs and that no part has."""
    there: dict[tuple[int, str], list[range]] = {}
    for each in finished:
        part = each.part
        there.setdefault((part.epoch, part.shard), []).append(
            range(part.start, part.start + part.rows)
        )
    for coverage in coverages:
        had = sorted(there.get((coverage.epoch, coverage.shard.path), ()), key=_start)
        if left := tuple(_without(coverage.ranges, had)):
            yield replace(coverage, ranges=left)


def _without(wanted: Iterable[range], had: Sequence[range]) -> Iterator[range]:
    """Yield what is left of ranges without others; both rise."""
    for rows in wanted:
        start = rows.start
        # The last one that begins at or before these rows may reach into them.
        for other in had[max(bisect_right(had, start, key=_start) - 1, 0) :]:
            if other.start >= rows.stop:
                break
            if start < other.start:
                yield range(start, other.start)
            start = max(start, other.stop)
        if start < rows.stop:
            yield range(start, rows.stop)


def _start(rows: range) -> int:
    return rows.start


def finished_content(finished: FinishedPart) -> dict[str, object]:
    """Return a finished part as JSON values."""
    return asdict(finished)


def finished_from(content: object, where: str) -> FinishedPart:
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
