"""The share of its training rows that a run reads: nested, and alike in languages and classes.

``data.fraction_seed`` and its id give each row a number. Of the rows of one class of one language
those with the smallest numbers are kept, the fraction of them to the nearest whole row. So the
rows of a smaller fraction are among those of a larger one, and which they are is known by the last
number of each class: a row is kept or not wherever it is read.
"""

import functools
import hashlib
import itertools
import json
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from raykd.config.schema.data import DataConfig
from raykd.data.lanes import addresses, open_shard, require_rows, told_as_unreadable
from raykd.data.manifest import Manifest, Shard
from raykd.data.row_filter import RowClasses, RowFilter, RowNumbers, row_classes, row_numbers
from raykd.data.shard_checks import expected_schema
from raykd.errors import ConfigError

_READ_AT_ONCE = 4
"""Shards whose ids are read at a time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rows:
    """The training rows of one language and what decides which are kept."""

    data: str
    """Fingerprint of the prepared data."""

    split: str
    language: str
    classes: tuple[str, ...]
    """Names of the classes that are kept apart; empty where none are."""

    fraction: float
    seed: int
    manifest: Manifest = field(compare=False, repr=False)

    @property
    def shards(self) -> tuple[Shard, ...]:
        """The shards that hold the rows."""
        shards = self.manifest.shards(self.split)
        return tuple(shard for shard in shards if shard.language == self.language)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kept:
    """What a fraction leaves of the rows of one language."""

    shards: tuple[Shard, ...]
    """Those with any row that is kept, and the counts of such rows."""

    row_filter: RowFilter
    lost: tuple[tuple[str, int], ...]
    """Each class, or the language, that is left without a row, and how many it has."""


def with_fraction(manifest: Manifest, config: DataConfig, *, by_class: bool) -> Manifest:
    """Return a data set whose training split has the rows of ``data.fraction`` alone.

    Ids and labels of the training rows are read for that, once in a process; at fraction 1
    nothing is. Its shards count the rows that are kept, and about their tokens; it has a
    fingerprint of its own.

    Args:
        manifest: The prepared data.
        config: Fraction and seed, split and languages; other languages stay whole.
        by_class: Whether each class of ``label`` keeps the fraction of its rows.

    Raises:
        ConfigError: No row of a class or language would be left; the message names all of them.
        DataError: There is no such split, or it cannot be read.
    """
    if config.fraction == 1:
        return manifest
    split, classes = config.train_split, (by_class and manifest.labels) or ()
    shards: list[Shard] = []
    filters: dict[str, RowFilter] = {}
    lost: list[tuple[str, int]] = []
    for language in dict.fromkeys(shard.language for shard in manifest.shards(split)):
        rows = _Rows(
            data=manifest.fingerprint,
            split=split,
            language=language,
            classes=classes,
            fraction=config.fraction,
            seed=config.fraction_seed,
            manifest=manifest,
        )
        if config.languages is not None and language not in config.languages:
            shards += rows.shards
            continue
        kept = _kept(rows)
        shards += kept.shards
        filters |= {shard.path: kept.row_filter for shard in kept.shards}
        lost += kept.lost
    if lost:
        raise ConfigError(_lost_message(config, lost))
    identity = [manifest.fingerprint, split, config.fraction, config.fraction_seed, classes]
    return replace(
        manifest,
        fingerprint=hashlib.sha256(json.dumps(identity).encode()).hexdigest(),
        splits={**manifest.splits, split: tuple(shards)},
        row_filters=filters,
    )


def _lost_message(config: DataConfig, lost: Sequence[tuple[str, int]]) -> str:
    groups = ", ".join(f"{name} (it has {rows})" for name, rows in lost)
    # Rounded up, so that what the message says is enough.
    enough = math.ceil(5e5 / min(rows for _, rows in lost)) / 1e6
    return (
        f"data.fraction={config.fraction:g} leaves no row of {groups}; set it to {enough:g} or "
        "more, or leave the language out with data.languages"
    )


@functools.lru_cache(maxsize=1024)
def _kept(rows: _Rows) -> _Kept:
    shards = rows.shards
    numbers_N, classes_N = _numbers_and_classes(rows)
    sizes = np.bincount(classes_N, minlength=len(rows.classes) + 1).tolist()
    # Halves up: as the fraction rises, no count falls, so a larger one keeps all of a smaller one.
    counts = [int(rows.fraction * size + 0.5) for size in sizes]
    last_numbers = [
        int(np.partition(numbers_N[classes_N == place], count - 1)[count - 1]) if count else 0
        for place, count in enumerate(counts)
    ]
    is_kept_N = numbers_N <= np.array(last_numbers, dtype=np.uint64)[classes_N]
    sizes_of_batches = [size for shard in shards for size in shard.batch_rows]
    starts = list(itertools.accumulate(sizes_of_batches[:-1], initial=0))
    left = iter(np.add.reduceat(is_kept_N, starts, dtype=np.int64).tolist())
    reduced = [_reduced(s, tuple(itertools.islice(left, len(s.batch_rows)))) for s in shards]
    groups = [*(f"class {name!r} of language" for name in rows.classes), "language"]
    return _Kept(
        shards=tuple(shard for shard in reduced if shard.rows),
        row_filter=RowFilter(seed=rows.seed, last_numbers=tuple(last_numbers)),
        lost=tuple(
            (f"{group} {rows.language!r}", size)
            for group, size, count in zip(groups, sizes, counts, strict=True)
            if size and not count
        ),
    )


def _reduced(shard: Shard, batch_rows: tuple[int, ...]) -> Shard:
    tokens = round(shard.tokens * sum(batch_rows) / shard.rows)
    return replace(shard, batch_rows=batch_rows, tokens=tokens)


def _numbers_and_classes(rows: _Rows) -> tuple[RowNumbers, RowClasses]:
    """Read what decides which rows are kept: ids and labels alone, of each row nine bytes."""
    with ThreadPoolExecutor(_READ_AT_ONCE, thread_name_prefix="raykd-fraction") as threads:
        of_shards = threads.map(functools.partial(_of_shard, rows), rows.shards)
        numbers, classes = zip(*itertools.chain.from_iterable(of_shards), strict=True)
    return np.concatenate(numbers), np.concatenate(classes)


def _of_shard(rows: _Rows, shard: Shard) -> list[tuple[RowNumbers, RowClasses]]:
    """Return numbers and classes of the rows of each record batch."""
    columns = ["row_id", *(["label"] if rows.classes else [])]
    schema = expected_schema(rows.manifest)
    options = pa.ipc.IpcReadOptions(included_fields=[schema.get_field_index(c) for c in columns])
    opened: pa.RecordBatchFileReader | None = None
    of_batches = []
    for address in addresses(rows.manifest, [shard]):
        with told_as_unreadable(address):
            opened = opened or open_shard(address.uri, options)
            batch = opened.get_batch(address.index)
            if batch.schema.names != columns:
                message = f"it has the columns {batch.schema.names}, not {columns}"
                raise ValueError(message)
            require_rows(batch, address)
            numbers_B = row_numbers(batch, seed=rows.seed)
            of_batches.append((numbers_B, row_classes(batch, num_classes=len(rows.classes))))
    return of_batches
