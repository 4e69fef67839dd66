"""The rows of every optimizer step, resumable at any step with any number of workers."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from raykd.batch import IntArray, Rows
from raykd.config.schema.data import DataConfig
from raykd.data.buckets import bucket_order, steps_by_length
from raykd.data.lanes import BatchAddress, BatchReader, addresses
from raykd.data.manifest import Manifest, Shard
from raykd.data.mixture import initial_weights
from raykd.data.order import drawn_rows
from raykd.data.row_stream import RowStream, batches_before
from raykd.data.rows import as_rows, joined
from raykd.errors import ConfigError

ALL_LANGUAGES = "*"
"""Name of the one stream that holds every language, where languages are not mixed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DataState:
    """Where the data stands between two steps; with the configuration, all there is to know."""

    step: int
    """Steps whose rows have been handed out."""

    rows: dict[str, int]
    """Rows handed out of each stream, each language or all of them together, before the steps
    that share out their rows: see ``data.bucket_steps``."""

    weights: dict[str, float] | None = None
    """Share of each stream in the rows drawn from here on, where the run has adapted them; None
    draws by the configuration."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamReads:
    """What the first steps of a run read of one stream."""

    shards: tuple[Shard, ...]
    whole_epochs: int
    last: tuple[BatchAddress, ...]
    """The record batches that are read in the epoch after those."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepRows:
    """What one worker reads for one step."""

    rows: Rows
    state: DataState
    """Where the data stands after this step."""


def chosen_shards(manifest: Manifest, config: DataConfig, split: str) -> tuple[Shard, ...]:
    """Return the shards of a split in the languages that are asked for.

    Raises:
        ConfigError: A language has no rows in the split.
    """
    shards = manifest.shards(split)
    present = {shard.language for shard in shards}
    if missing := sorted(set(config.languages or ()) - present):
        message = (
            f"data.languages: {missing} have no rows in split {split!r} of {manifest.uri}; "
            f"it has {sorted(present)}"
        )
        raise ConfigError(message)
    return tuple(s for s in shards if config.languages is None or s.language in config.languages)


def initial_state(manifest: Manifest, config: DataConfig) -> DataState:
    """Return where the data stands before the first step."""
    return DataState(step=0, rows=dict.fromkeys(_stream_shards(manifest, config), 0))


def rows_per_epoch(manifest: Manifest, config: DataConfig) -> int:
    """Return the rows of the training split in the languages that are asked for."""
    return sum(shard.rows for shard in chosen_shards(manifest, config, config.train_split))


def mixing_weights(manifest: Manifest, config: DataConfig) -> dict[str, float]:
    """Return the share of each stream in the rows drawn, by the configuration; they sum to 1.

    Raises:
        ConfigError: A fixed weight is missing or names a language that is not there.
    """
    rows = {
        name: sum(shard.rows for shard in shards)
        for name, shards in _stream_shards(manifest, config).items()
    }
    return initial_weights(rows, config.mixing)


def training_reads(
    manifest: Manifest, config: DataConfig, *, seed: int, global_batch_size: int, num_steps: int
) -> list[StreamReads]:
    """Return what the first steps read, by arithmetic on the manifest alone.

    Steps of a bucket exchange their rows: the last bucket counts as a whole.

    Args:
        manifest: The prepared data set.
        config: Split, languages, mixture, lanes and window; a mixture that adapts is not known.
        seed: Decides the order.
        global_batch_size: Rows per step over all workers.
        num_steps: Steps from the first one on.
    """
    streams = _stream_shards(manifest, config)
    weights = mixing_weights(manifest, config)
    steps = math.ceil(num_steps / config.bucket_steps) * config.bucket_steps
    taken = _drawn_in_all(
        [weights[name] for name in streams], num_rows=global_batch_size, seed=seed, steps=steps
    )
    found = []
    for number, (shards, rows) in enumerate(zip(streams.values(), taken, strict=True)):
        batches = addresses(manifest, shards)
        epoch, position = divmod(rows, sum(batch.rows for batch in batches))
        last = batches_before(position, batches, config=config, seed=(seed, number), epoch=epoch)
        found.append(StreamReads(shards=shards, whole_epochs=epoch, last=tuple(last)))
    return found


def _drawn_in_all(shares: Sequence[float], *, num_rows: int, seed: int, steps: int) -> list[int]:
    """Return how many rows of each stream some steps take together."""
    if len(shares) == 1:
        return [num_rows * steps]
    taken = np.zeros(len(shares), dtype=np.int64)
    for step in range(steps):
        taken += drawn_rows(shares, num_rows=num_rows, seed=seed, step=step)
    return taken.tolist()


def with_weights(state: DataState, weights: Mapping[str, float]) -> DataState:
    """Return the state with other shares of the streams from its next step on.

    Raises:
        ValueError: The weights are not those of the streams.
    """
    if set(weights) != set(state.rows):
        message = f"weights are of {sorted(weights)}, but the streams are {sorted(state.rows)}"
        raise ValueError(message)
    return replace(state, weights=dict(weights))


def training_rows(
    manifest: Manifest,
    config: DataConfig,
    *,
    seed: int,
    global_batch_size: int,
    worker: tuple[int, int],
    state: DataState,
) -> Iterator[StepRows]:
    """Yield this worker's rows of every step from a state on, for ever.

    Together the workers get the same ``global_batch_size`` rows in a step at any number of
    workers.

    Args:
        manifest: The prepared data set.
        config: Split, languages, mixture, lanes and window.
        seed: Decides the order.
        global_batch_size: Rows per step over all workers.
        worker: Rank and world size.
        state: Where to begin; ``initial_state`` or what an earlier stream yielded. Its weights
            stay in force: to change them, begin another stream.
    """
    rank, world_size = worker
    weights = state.weights or mixing_weights(manifest, config)
    reader = BatchReader(manifest)
    streams = {
        name: RowStream(
            addresses(manifest, shards),
            reader=reader,
            config=config,
            seed=(seed, number),
            lanes=range(rank, config.num_lanes, world_size),
        )
        for number, (name, shards) in enumerate(_stream_shards(manifest, config).items())
    }
    shares = [weights[name] for name in streams]
    taken = dict(state.rows)
    try:
        for bucket in itertools.count(state.step // config.bucket_steps):
            first = bucket * config.bucket_steps
            counts = [
                drawn_rows(shares, num_rows=global_batch_size, seed=seed, step=first + place)
                for place in range(config.bucket_steps)
            ]
            order = bucket_order(config.bucket_steps, seed=seed, bucket=bucket)
            before = dict(taken)
            pieces: list[list[Rows]] = [[] for _ in counts]
            for (name, stream), of_stream in zip(
                streams.items(), zip(*counts, strict=True), strict=True
            ):
                dealt = _dealt(stream, before[name], of_stream, order)
                pieces = [found + more for found, more in zip(pieces, dealt, strict=True)]
                taken[name] += sum(of_stream)
            for step, of_step in enumerate(pieces, start=first + 1):
                if step > state.step:
                    rows = taken if step == first + len(pieces) else before
                    after = replace(state, step=step, rows=dict(rows))
                    yield StepRows(rows=joined(of_step), state=after)
    finally:
        reader.close()


def _dealt(
    stream: RowStream, start: int, counts: Sequence[int], order: IntArray
) -> list[list[Rows]]:
    """Return a stream's rows of each step of a bucket, from a position on."""
    stops = list(itertools.accumulate(counts, initial=start))
    of_steps = [stream.rows(first, last) for first, last in itertools.pairwise(stops)]
    if len(counts) == 1:
        return of_steps
    rows = joined(list(itertools.chain.from_iterable(of_steps)))
    num_rows = [sum(map(len, pieces)) for pieces in of_steps]
    steps_B = steps_by_length(
        rows.lengths_B,
        lanes_B=stream.lanes(start, stops[-1]),
        steps_B=np.repeat(np.arange(len(counts)), num_rows),
        order=order,
    )
    chosen = [np.flatnonzero(steps_B == place) for place in range(len(counts))]
    return [[rows.take(indices)] if len(indices) else [] for indices in chosen]


def evaluation_rows(
    manifest: Manifest, config: DataConfig, *, split: str, batch_size: int, worker: tuple[int, int]
) -> Iterator[Rows]:
    """Yield this worker's share of a split in pieces; the workers cover every row once."""
    rank, world_size = worker
    batches = addresses(manifest, chosen_shards(manifest, config, split))[rank::world_size]
    reader = BatchReader(manifest, num_threads=1)
    try:
        pieces: list[pa.RecordBatch] = []
        waiting = 0
        for index, address in enumerate(batches):
            pieces.append(reader.submit([address]).result())
            waiting += address.rows
            if waiting >= batch_size or index == len(batches) - 1:
                yield as_rows(pa.concat_batches(pieces), epoch=0)
                pieces, waiting = [], 0
    finally:
        reader.close()


def _stream_shards(manifest: Manifest, config: DataConfig) -> dict[str, tuple[Shard, ...]]:
    shards = chosen_shards(manifest, config, config.train_split)
    if config.mixing is None:
        return {ALL_LANGUAGES: shards}
    return {
        language: tuple(shard for shard in shards if shard.language == language)
        for language in sorted({shard.language for shard in shards})
    }
