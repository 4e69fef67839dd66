"""Tokenise piece by piece over processes, and keep what is finished across restarts.

A *part* is the examples of some thousand rows as one Arrow file in a local work directory.
Which rows make a part depends on the rows alone, so that a second start finds the same parts.
"""

import functools
import json
import multiprocessing
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from raykd.data.prepare.examples import Encoder, Examples, Recipe, Rejection
from raykd.data.prepare.raw_rows import RawRows
from raykd.data.prepare.writer import Size

_PART_CHARACTERS = 1 << 20
_PART_ROWS = 20_000
_IN_FLIGHT_PER_PROCESS = 3
_SUMMARY = b"raykd"


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A finished piece of work."""

    path: Path
    sizes: dict[tuple[str, str], Size]
    """Split and language to what the part holds of them."""

    truncated: int
    rejections: tuple[Rejection, ...]
    is_reused: bool = False
    """Whether an earlier start made it."""

    @property
    def size(self) -> Size:
        """All splits and languages together."""
        return sum(self.sizes.values(), start=Size(rows=0, tokens=0))


def pieces(rows: Iterable[RawRows]) -> Iterator[list[RawRows]]:
    """Group rows into pieces of about a megabyte of text."""
    piece: list[RawRows] = []
    characters = count = 0
    for some in rows:
        piece.append(some)
        characters += some.size
        count += len(some.texts)
        if characters >= _PART_CHARACTERS or count >= _PART_ROWS:
            yield piece
            piece, characters, count = [], 0, 0
    if piece:
        yield piece


def encoded_parts(
    rows: Iterable[RawRows], recipe: Recipe, *, directory: Path, num_processes: int
) -> Iterator[Part]:
    """Yield the parts of all rows in order, made now or by an earlier start."""
    pending: deque[_Result] = deque()
    with _tokenisers(num_processes) as submit:
        for number, piece in enumerate(pieces(rows)):
            path = directory / f"{number:06d}.arrow"
            if path.exists():
                pending.append(_Finished(_read_part(path)))
            else:
                pending.append(submit(piece, recipe, path))
            # The reader waits for the tokenisers: memory stays bounded.
            if len(pending) >= num_processes * _IN_FLIGHT_PER_PROCESS:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


class _Result(Protocol):
    def result(self) -> Part: ...


class _Submit(Protocol):
    def __call__(self, piece: list[RawRows], recipe: Recipe, path: Path) -> _Result: ...


@dataclass(frozen=True, slots=True)
class _Finished:
    part: Part

    def result(self) -> Part:
        return self.part


@contextmanager
def _tokenisers(num_processes: int) -> Iterator[_Submit]:
    """Yield a way to have pieces encoded: by other processes, or by this one."""
    if num_processes == 1:
        yield lambda piece, recipe, path: _Finished(_make_part(piece, recipe, path))
        return
    # Not fork: Arrow and tokenizers run threads, whose locks a fork would copy.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(num_processes, mp_context=context, initializer=_use_one_thread)
    try:

        def submit(piece: list[RawRows], recipe: Recipe, path: Path) -> Future[Part]:
            return pool.submit(_make_part, piece, recipe, path)

        yield submit
    finally:
        pool.shutdown(cancel_futures=True)


def _use_one_thread() -> None:
    # The only switch that the library has; it concerns this worker process alone.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # noqa: TID251


@functools.lru_cache(maxsize=1)
def _encoder(recipe: Recipe) -> Encoder:
    return Encoder(recipe)


def _make_part(piece: list[RawRows], recipe: Recipe, path: Path) -> Part:
    examples = _encoder(recipe).encode(piece)
    summary = {
        "truncated": examples.truncated,
        "rejections": [asdict(rejection) for rejection in examples.rejections],
    }
    aside = path.with_suffix(".partial")
    table = examples.table.replace_schema_metadata({_SUMMARY: json.dumps(summary)})
    with pa.OSFile(str(aside), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    aside.replace(path)
    return _part(path, examples)


def _read_part(path: Path) -> Part:
    table = read_examples(path)
    summary = json.loads(table.schema.metadata[_SUMMARY])
    examples = Examples(
        table=table,
        truncated=summary["truncated"],
        rejections=tuple(Rejection(**one) for one in summary["rejections"]),
    )
    return _part(path, examples, is_reused=True)


def _part(path: Path, examples: Examples, *, is_reused: bool = False) -> Part:
    return Part(
        path=path,
        sizes=_sizes(examples.table),
        truncated=examples.truncated,
        rejections=examples.rejections,
        is_reused=is_reused,
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


def read_examples(path: Path) -> pa.Table:
    """Return the examples of a part, mapped from its file."""
    with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as reader:
        return reader.read_all()
