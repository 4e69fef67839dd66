"""Parts: tokenised pieces of the input, each made by itself and kept across restarts.

A *part* is the examples of some thousand rows as one Arrow file in a work directory. Which rows
make a part depends on the input alone, so that another start, or another machine, finds the same
parts.
"""

import functools
import json
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from raykd.data.prefetch import prefetched
from raykd.data.prepare.examples import Encoder, Examples, Recipe
from raykd.data.prepare.raw_rows import Finding, RawRows
from raykd.data.prepare.writer import Size
from raykd.storage import uris

# What tokenises does not read: it starts sooner without the libraries for that.
if TYPE_CHECKING:
    from raykd.config.schema.prepare import PrepareOptions
    from raykd.data.prepare.inputs import Inputs, ReadingMeter

_PART_CHARACTERS = 1 << 20
"""A part is full at so many characters of text, or at ``_PART_ROWS`` rows if they come first."""

_PART_ROWS = 20_000
_READ_AT_ONCE = 16
"""Parts that are read, and held in memory, together."""

_SUMMARY = b"raykd"
"""Key of a part's schema metadata: what became of its rows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What all parts of a data set are made of, and where they are kept."""

    inputs: "Inputs"
    options: "PrepareOptions"
    recipe: Recipe
    uri: str
    """The work directory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """Rows that make a part."""

    rows: list[RawRows]
    uri: str
    """Where the part is kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A finished piece of work."""

    uri: str
    sizes: dict[tuple[str, str], Size]
    """Split and language to what the part holds of them."""

    truncated: int
    rejections: tuple[Finding, ...]
    remarks: tuple[Finding, ...]

    @property
    def name(self) -> str:
        """Its file name: the names of all parts, sorted, have the order of the rows."""
        return PurePosixPath(self.uri).name

    @property
    def size(self) -> Size:
        """All splits and languages together."""
        return sum(self.sizes.values(), start=Size(rows=0, tokens=0))


class Tokenisers(Protocol):
    """Those who make the parts."""

    @property
    def are_elsewhere(self) -> bool:
        """Whether they may be on other machines, which must reach the work directory."""

    def parts(self, work: Work, meter: "ReadingMeter") -> Generator[Part]:
        """Yield all parts of some work, in any order; the meter is told what is read."""


class Result(Protocol):
    """A part on its way."""

    def result(self) -> Part:
        """Wait for it."""


class Submit(Protocol):
    """Has a piece encoded."""

    def __call__(self, piece: Piece, recipe: Recipe) -> Result:
        """Return at once."""


def unit_pieces(work: Work, unit: int, rows: Iterable[RawRows]) -> Iterator[Piece]:
    """Group the rows of a unit of the input into pieces of about a megabyte of text."""
    for number, some in enumerate(_grouped(rows)):
        yield Piece(rows=some, uri=uris.join(work.uri, f"{unit:06d}-{number:06d}.arrow"))


def submitted_parts(
    pieces: Iterable[Piece], recipe: Recipe, submit: Submit, *, num_in_flight: int
) -> Iterator[Part]:
    """Yield the parts of all pieces in order; only so many pieces are in memory."""
    pending: deque[Result] = deque()
    for piece in pieces:
        pending.append(submit(piece, recipe))
        # The reader waits for the tokenisers.
        if len(pending) >= num_in_flight:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def made_part(piece: Piece, recipe: Recipe) -> Part:
    """Return the part of a piece, made now or by an earlier start."""
    # A part appears at once, by write_bytes: one that exists is complete.
    if uris.exists(piece.uri):
        return _part(piece.uri, _read(uris.read_bytes(piece.uri)))
    examples = _encoder(recipe).encode(piece.rows)
    uris.write_bytes(piece.uri, _as_file(examples))
    return _part(piece.uri, examples)


def part_examples(parts: Sequence[Part]) -> Iterator[tuple[Part, pa.Table]]:
    """Yield parts in their order with their examples, read ahead.

    Raises:
        FileNotFoundError: A part is gone.
    """
    remaining = iter(parts)
    groups = iter(lambda: list(islice(remaining, _READ_AT_ONCE)), [])
    for group in prefetched(map(_tables, groups), depth=1):
        yield from group


def _tables(parts: list[Part]) -> list[tuple[Part, pa.Table]]:
    if uris.is_local(parts[0].uri):
        return [(part, _mapped(part.uri)) for part in parts]
    contents = uris.read_many([part.uri for part in parts])
    for part in parts:
        if part.uri not in contents:
            raise FileNotFoundError(part.uri)
    return [(part, _read(contents[part.uri]).table) for part in parts]


def _mapped(uri: str) -> pa.Table:
    with pa.memory_map(uri) as source, pa.ipc.open_file(source) as reader:
        # The buffers of the table keep the mapping alive.
        return reader.read_all()


def _grouped(rows: Iterable[RawRows]) -> Iterator[list[RawRows]]:
    group: list[RawRows] = []
    characters = count = 0
    for some in rows:
        group.append(some)
        characters += some.size
        count += len(some.texts)
        if characters >= _PART_CHARACTERS or count >= _PART_ROWS:
            yield group
            group, characters, count = [], 0, 0
    if group:
        yield group


@functools.lru_cache(maxsize=1)
def _encoder(recipe: Recipe) -> Encoder:
    return Encoder(recipe)


def _as_file(examples: Examples) -> bytes:
    summary = {
        "truncated": examples.truncated,
        "rejections": [asdict(finding) for finding in examples.rejections],
        "remarks": [asdict(finding) for finding in examples.remarks],
    }
    table = examples.table.replace_schema_metadata({_SUMMARY: json.dumps(summary)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def _read(content: bytes) -> Examples:
    with pa.ipc.open_file(pa.BufferReader(content)) as reader:
        table = reader.read_all()
    summary = json.loads(table.schema.metadata[_SUMMARY])
    return Examples(
        table=table,
        truncated=summary["truncated"],
        rejections=tuple(Finding(**one) for one in summary["rejections"]),
        remarks=tuple(Finding(**one) for one in summary["remarks"]),
    )


def _part(uri: str, examples: Examples) -> Part:
    return Part(
        uri=uri,
        sizes=_sizes(examples.table),
        truncated=examples.truncated,
        rejections=examples.rejections,
        remarks=examples.remarks,
    )


def _sizes(table: pa.Table) -> dict[tuple[str, str], Size]:
    counted = table.select(["split", "language"]).append_column(
        "tokens", pc.list_value_length(table["input_ids"])
    )
    groups = counted.group_by(["split", "language"], use_threads=False).aggregate(
        [("tokens", "count"), ("tokens", "sum")]
    )
    return {
        (row["split"], row["language"]): Size(rows=row["tokens_count"], tokens=row["tokens_sum"])
        for row in sorted(groups.to_pylist(), key=lambda row: (row["split"], row["language"]))
    }
