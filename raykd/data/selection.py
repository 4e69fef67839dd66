"""What a run reads, and how far it is: arithmetic on the manifest alone."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from raykd.config.schema.data import DataConfig
from raykd.data.lanes import BatchAddress, addresses, windows
from raykd.data.manifest import Manifest, Shard
from raykd.data.mixture import initial_weights
from raykd.data.order import EpochOrder, drawn_rows, epoch_order
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


def chosen_shards(manifest: Manifest, config: DataConfig, split: str) -> tuple[Shard, ...]:
    """Return the shards of a split in the languages that are trained on.

    Raises:
        ConfigError: A language has no rows in the split.
    """
    return _in_languages(manifest, split, config.languages, key="data.languages")


def evaluation_shards(manifest: Manifest, config: DataConfig, split: str) -> tuple[Shard, ...]:
    """Return the shards of a split in the languages that are evaluated on.

    Raises:
        ConfigError: A language has no rows in the split.
    """
    if config.eval_languages is None:
        return chosen_shards(manifest, config, split)
    return _in_languages(manifest, split, config.eval_languages, key="data.eval_languages")


def _in_languages(
    manifest: Manifest, split: str, languages: tuple[str, ...] | None, *, key: str
) -> tuple[Shard, ...]:
    shards = manifest.shards(split)
    present = {shard.language for shard in shards}
    if missing := sorted(set(languages or ()) - present):
        message = (
            f"{key}: {missing} have no rows in split {split!r} of {manifest.uri}; "
            f"it has {sorted(present)}"
        )
        raise ConfigError(message)
    return tuple(shard for shard in shards if languages is None or shard.language in languages)


def stream_shards(manifest: Manifest, config: DataConfig) -> dict[str, tuple[Shard, ...]]:
    """Return the shards of each stream: each language, or all together where none are mixed.

    Raises:
        ConfigError: A language has no rows in the split.
    """
    shards = chosen_shards(manifest, config, config.train_split)
    if config.mixing is None:
        return {ALL_LANGUAGES: shards}
    return {
        language: tuple(shard for shard in shards if shard.language == language)
        for language in sorted({shard.language for shard in shards})
    }


def initial_state(manifest: Manifest, config: DataConfig) -> DataState:
    """Return where the data stands before the first step."""
    return DataState(step=0, rows=dict.fromkeys(stream_shards(manifest, config), 0))


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
        for name, shards in stream_shards(manifest, config).items()
    }
    return initial_weights(rows, config.mixing)


def with_weights(state: DataState, weights: Mapping[str, float]) -> DataState:
    """Return the state with other shares of the streams from its next step on.

    Raises:
        ValueError: The weights are not those of the streams.
    """
    if set(weights) != set(state.rows):
        message = f"weights are of {sorted(weights)}, but the streams are {sorted(state.rows)}"
        raise ValueError(message)
    return replace(state, weights=dict(weights))


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
    streams = stream_shards(manifest, config)
    weights = mixing_weights(manifest, config)
    steps = math.ceil(num_steps / config.bucket_steps) * config.bucket_steps
    taken = _drawn_in_all(
        [weights[name] for name in streams], num_rows=global_batch_size, seed=seed, steps=steps
    )
    reads = []
    for number, (shards, rows) in enumerate(zip(streams.values(), taken, strict=True)):
        batches = addresses(manifest, shards)
        epoch, position = divmod(rows, sum(batch.rows for batch in batches))
        last = batches_before(position, batches, config=config, seed=(seed, number), epoch=epoch)
        reads.append(StreamReads(shards=shards, whole_epochs=epoch, last=tuple(last)))
    return reads


def _drawn_in_all(shares: Sequence[float], *, num_rows: int, seed: int, steps: int) -> list[int]:
    """Return how many rows of each stream some steps take together."""
    if len(shares) == 1:
        return [num_rows * steps]
    taken = np.zeros(len(shares), dtype=np.int64)
    for step in range(steps):
        taken += drawn_rows(shares, num_rows=num_rows, seed=seed, step=step)
    return taken.tolist()


def batches_before(
    position: int,
    batches: Sequence[BatchAddress],
    *,
    config: DataConfig,
    seed: tuple[int, int],
    epoch: int,
) -> list[BatchAddress]:
    """Return the record batches that hold the rows of a stream before a position of an epoch.

    Args:
        position: From 0 to all rows of the record batches.
        batches: Of the stream.
        config: Lanes and window.
        seed: Seed of the run and number of the stream in it.
        epoch: How often the stream has been read through before.
    """
    order = stream_order(batches, config, seed=seed, epoch=epoch)
    indices: list[int] = []
    for lane, rows in zip(order.lanes, order.rows_before(position).tolist(), strict=True):
        left = rows
        for window in windows(lane.tolist(), config.shuffle_window):
            if left <= 0:
                break
            # A window is read as soon as its first row is: shuffling needs all of it.
            indices += window
            left -= sum(batches[index].rows for index in window)
    return [batches[index] for index in sorted(indices)]


def stream_order(
    batches: Sequence[BatchAddress], config: DataConfig, *, seed: tuple[int, int], epoch: int
) -> EpochOrder:
    """Return the order of the rows of a stream in one epoch.

    Args:
        batches: Of the stream.
        config: Its number of lanes.
        seed: Seed of the run and number of the stream in it.
        epoch: How often the stream has been read through before.
    """
    of_run, stream = seed
    return epoch_order(
        [batch.rows for batch in batches],
        num_lanes=config.num_lanes,
        seed=of_run,
        epoch=epoch,
        stream=stream,
    )
