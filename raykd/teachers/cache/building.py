"""Build a cache, or go on where an earlier start has left it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from raykd.teachers.cache.asking import Asker
from raykd.teachers.cache.encodings import encoding_for
from raykd.teachers.cache.index import Index, noted_parts, publish_index, read_index
from raykd.teachers.cache.key import CacheKey
from raykd.teachers.cache.parts import Coverage, FinishedPart, Part, lacking, parts_of
from raykd.teachers.cache.payload import Encoding
from raykd.teachers.cache.records import records_of
from raykd.teachers.cache.writing import write_part

_PROBED_ROWS = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a build is."""

    rows: int
    """Written so far, by earlier starts too; a row counts once in each mask epoch."""

    total_rows: int
    num_bytes: int
    """Of them."""

    reused_rows: int
    """Of the rows, those that earlier starts have written."""

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


def is_built(uri: str, key: CacheKey, coverages: Sequence[Coverage]) -> bool:
    """Tell whether a cache has all that a run needs.

    Raises:
        PublicationError: What is there is of another key, or torn.
    """
    index = read_index(uri, key)
    return index is not None and lacking(coverages, index.parts) is None


def build_cache(
    uri: str, key: CacheKey, coverages: Sequence[Coverage], asker: Asker, watch: Watch
) -> Progress:
    """Write what a run needs and a cache does not have; return how far that went.

    Args:
        uri: Of the cache; nobody else builds there.
        key: What it holds.
        coverages: What the run reads.
        asker: Asks the teacher.
        watch: Looks on, and may ask to stop.

    Raises:
        RaykdError: The data cannot be read, or storage cannot be written.
    """
    index = read_index(uri, key) or Index(encoding=_encoding(key, coverages, asker), parts=())
    size = index.encoding.bytes_per_position * positions_per_token(key)
    needed = list(parts_of(coverages, bytes_per_token=size))
    finished = {each.part: each for each in index.parts}
    finished |= {each.part: each for each in noted_parts(uri, set(needed) - finished.keys())}
    reused_rows = sum(part.rows for part in needed if part in finished)

    def progress() -> Progress:
        there = [finished[part] for part in needed if part in finished]
        return Progress(
            rows=sum(each.part.rows for each in there),
            total_rows=sum(part.rows for part in needed),
            num_bytes=sum(each.num_bytes for each in there),
            reused_rows=reused_rows,
        )

    watch.on_progress(progress())
    for part in needed:
        if part in finished:
            continue
        if watch.should_stop():
            return progress()
        finished[part] = _written(uri, part, asker, index.encoding)
        watch.on_progress(progress())
    if len(finished) > len(index.parts):
        publish_index(uri, key, replace(index, parts=tuple(finished.values())))
    return progress()


def positions_per_token(key: CacheKey) -> float:
    """Return about how many positions are scored for each token, at most."""
    return 1.0 if key.masks is None else key.masks.masking.fraction


def _encoding(key: CacheKey, coverages: Sequence[Coverage], asker: Asker) -> Encoding:
    """Ask about a few rows: what the teacher's scores are like decides how they are kept."""
    shard = coverages[0].shards[0]
    rows = asker.rows(shard, 0, min(_PROBED_ROWS, shard.rows), epoch=0)
    return encoding_for(key.payload, asker.scores(asker.task.collate(rows)))


def _written(uri: str, part: Part, asker: Asker, encoding: Encoding) -> FinishedPart:
    rows = asker.rows(
        asker.shards[part.shard], part.start, part.start + part.rows, epoch=part.epoch
    )
    return write_part(uri, part, records_of(asker.answers(rows, encoding), rows.row_ids_B))
