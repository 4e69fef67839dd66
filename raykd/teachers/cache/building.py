"""Build a cache, or go on where an earlier start has left it."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from raykd.data.manifest import Shard
from raykd.teachers.cache.encodings import encoding_for
from raykd.teachers.cache.index import Index, noted_parts, publish_index, read_index
from raykd.teachers.cache.key import CacheKey
from raykd.teachers.cache.parts import Coverage, FinishedPart, Part, lacking, parts_of
from raykd.teachers.cache.payload import Encoding, Payload
from raykd.teachers.cache.records import records_of
from raykd.teachers.cache.runner import TeacherRunner
from raykd.teachers.cache.writing import write_part

_PROBED_ROWS = 4
"""Rows that the teacher is asked about to see what its scores are like."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a build is."""

    rows: int
    """Written so far, by earlier starts too; a row counts once in each mask epoch."""

    total_rows: int
    num_bytes: int
    """Size of all records that the cache has."""

    reused_rows: int
    """Those of the rows that earlier starts have written."""

    @property
    def is_whole(self) -> bool:
        """Whether there is all that is needed."""
        return self.rows == self.total_rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Watch:
    """Who looks on while a cache is built."""

    on_progress: Callable[[Progress], None] = lambda _: None
    """Told at the start, and after every part."""

    should_stop: Callable[[], bool] = lambda: False
    """Asked before every part; what is written stays."""


class Writer(Protocol):
    """Asks a teacher and writes what it says, in this process or in others."""

    def encoding(self, payload: Payload, shard: Shard) -> Encoding:
        """Return how what it says is kept: what its scores of a few rows are like decides."""

    def written(
        self,
        uri: str,
        parts: Sequence[Part],
        encoding: Encoding,
        should_stop: Callable[[], bool],
    ) -> Iterator[FinishedPart]:
        """Write parts of a cache, and yield each that is whole; asked to stop, begin no other."""


class AskingWriter:
    """Asks the teacher in this process."""

    def __init__(self, runner: TeacherRunner) -> None:
        """Ask nothing yet."""
        self._runner = runner

    def encoding(self, payload: Payload, shard: Shard) -> Encoding:
        """Return how what it says is kept."""
        runner = self._runner
        rows = runner.rows(shard, 0, min(_PROBED_ROWS, shard.rows), epoch=0)
        return encoding_for(payload, runner.scores(runner.task.collate(rows)))

    def written(
        self,
        uri: str,
        parts: Sequence[Part],
        encoding: Encoding,
        should_stop: Callable[[], bool],
    ) -> Iterator[FinishedPart]:
        """Write parts one after the other."""
        for part in parts:
            if should_stop():
                return
            yield self.write(uri, part, encoding)

    def write(self, uri: str, part: Part, encoding: Encoding) -> FinishedPart:
        """Write one part, unless another has done so by now."""
        # Looked up again right here: helpers write parts of the same list.
        if noted := noted_parts(uri, [part]):
            return noted[0]
        runner = self._runner
        rows = runner.rows(
            runner.shards[part.shard], part.start, part.start + part.rows, epoch=part.epoch
        )
        return write_part(uri, part, records_of(runner.answers(rows, encoding), rows.row_ids_B))


def is_built(uri: str, key: CacheKey, coverages: Sequence[Coverage]) -> bool:
    """Tell whether a cache has all that a run needs.

    Raises:
        PublicationError: What is there is of another key, or torn.
    """
    index = read_index(uri, key)
    return index is not None and not any(lacking(coverages, index.parts))


def build_cache(
    uri: str, key: CacheKey, coverages: Sequence[Coverage], writer: Writer, watch: Watch
) -> Progress:
    """Write what a run needs and a cache does not have; return how far that went.

    Args:
        uri: Of the cache; nobody else builds there, though others may help.
        key: What it holds.
        coverages: What the run reads.
        writer: Asks the teacher.
        watch: Looks on, and may ask to stop.

    Raises:
        RaykdError: The data cannot be read, or storage cannot be written.
    """
    index, needed = _needed(uri, key, coverages, writer)
    finished = list(index.parts)
    finished += noted_parts(uri, needed)
    reused = {each.part for each in finished}
    total_rows = sum(coverage.rows for coverage in coverages)
    reused_rows = total_rows - sum(part.rows for part in needed if part not in reused)

    def progress() -> Progress:
        new = [each for each in finished if each.part not in reused]
        return Progress(
            rows=reused_rows + sum(each.part.rows for each in new),
            total_rows=total_rows,
            num_bytes=sum(each.num_bytes for each in finished),
            reused_rows=reused_rows,
        )

    watch.on_progress(progress())
    lacking_parts = [part for part in needed if part not in reused]
    for each in writer.written(uri, lacking_parts, index.encoding, watch.should_stop):
        finished.append(each)
        watch.on_progress(progress())
    # Last of all: an index names only records that are written.
    if progress().is_whole and len(finished) > len(index.parts):
        publish_index(uri, key, replace(index, parts=tuple(finished)))
    return progress()


def help_build(
    uri: str,
    key: CacheKey,
    coverages: Sequence[Coverage],
    writer: Writer,
    should_stop: Callable[[], bool],
) -> None:
    """Write parts of a cache that another builds, in random order: it finds and publishes them.

    Args:
        uri: Of the cache.
        key: What it holds.
        coverages: What the run reads, which waits for the other.
        writer: Asks the teacher.
        should_stop: Asked before every part.

    Raises:
        RaykdError: The data cannot be read, or storage cannot be written.
    """
    index, needed = _needed(uri, key, coverages, writer)
    there = {each.part for each in noted_parts(uri, needed)}
    lacking_parts = [part for part in needed if part not in there]
    # So that two rarely begin the same part; where they do, either's records are good.
    random.shuffle(lacking_parts)
    for _ in writer.written(uri, lacking_parts, index.encoding, should_stop):
        pass


def _needed(
    uri: str, key: CacheKey, coverages: Sequence[Coverage], writer: Writer
) -> tuple[Index, list[Part]]:
    """Return what a cache holds, and the parts that a run needs beside it."""
    index = read_index(uri, key)
    # What is there decides how more is kept: one encoding reads all parts of a cache.
    if index is None:
        encoding = writer.encoding(key.payload, coverages[0].shard)
        index = Index(encoding=encoding, parts=())
    size = index.encoding.bytes_per_position * positions_per_token(key)
    return index, list(parts_of(lacking(coverages, index.parts), bytes_per_token=size))


def positions_per_token(key: CacheKey) -> float:
    """Return about how many positions are scored for each token, at most."""
    return 1.0 if key.masks is None else key.masks.masking.fraction
