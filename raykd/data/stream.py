"""The rows of every optimizer step, resumable at any step with any number of workers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raykd.batch import IntArray, Rows
from raykd.config.schema.data import DataConfig
from raykd.data.lanes import BatchAddress, BatchReader, Lane, addresses
from raykd.data.manifest import Manifest, Shard
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
    """Rows handed out of each stream: each language, or all of them together."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepRows:
    """What one worker reads for one step."""

    rows: Rows
    state: DataState
    """Where the data stands after this step."""


class RowStream:
    """Rows of some shards in the order of ``raykd.data.order``, epoch after epoch, for ever."""

    def __init__(
        self,
        batches: Sequence[BatchAddress],
        *,
        config: DataConfig,
        seed: int,
        number: int,
        lanes: range,
    ) -> None:
        self._batches = batches
        self._config = config
        self._seed = seed
        self._number = number
        self._lanes = lanes
        self._reader = BatchReader()
        self._open: dict[tuple[int, int], Lane] = {}
        self._orders: dict[int, EpochOrder] = {}
        self.rows_per_epoch = sum(batch.rows for batch in batches)

    def rows(self, start: int, stop: int) -> list[tuple[int, pa.RecordBatch]]:
        """Return this worker's rows among positions [start, stop), with their epoch, in order.

        Calls must come with rising positions, each starting where the last one stopped.
        """
        pieces = []
        while start < stop:
            epoch, first = divmod(start, self.rows_per_epoch)
            last = min(first + stop - start, self.rows_per_epoch)
            if (piece := self._epoch_rows(epoch, first, last)) is not None:
                pieces.append((epoch, piece))
            start += last - first
        return pieces

    def close(self) -> None:
        """End the reading threads."""
        self._reader.close()

    def _epoch_rows(self, epoch: int, first: int, last: int) -> pa.RecordBatch | None:
        order = self._order(epoch)
        before, after = order.rows_before(first), order.rows_before(last)
        pieces, keys = [], []
        for lane in self._lanes:
            if (count := int(after[lane] - before[lane])) == 0:
                continue
            pieces += self._lane(epoch, lane, int(before[lane])).take(count)
            rows = np.arange(before[lane], after[lane])
            keys.append(rows * self._config.num_lanes + lane)
            if after[lane] == order.rows_per_lane[lane]:
                del self._open[epoch, lane]
        if not pieces:
            return None
        return pa.concat_batches(pieces).take(pa.array(np.argsort(np.concatenate(keys))))

    def _order(self, epoch: int) -> EpochOrder:
        if epoch not in self._orders:
            self._orders = {
                epoch: epoch_order(
                    [batch.rows for batch in self._batches],
                    num_lanes=self._config.num_lanes,
                    seed=self._seed,
                    epoch=epoch,
                    stream=self._number,
                )
            }
        return self._orders[epoch]

    def _lane(self, epoch: int, lane: int, start: int) -> Lane:
        if (epoch, lane) not in self._open:
            self._open[epoch, lane] = Lane(
                [self._batches[index] for index in self._order(epoch).lanes[lane]],
                reader=self._reader,
                window=self._config.shuffle_window,
                seed=(self._seed, self._number, epoch, lane),
                start=start,
            )
        return self._open[epoch, lane]


def training_shards(manifest: Manifest, config: DataConfig, split: str) -> tuple[Shard, ...]:
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


def mixing_weights(manifest: Manifest, config: DataConfig) -> dict[str, float]:
    """Return the share of each stream in the rows drawn; they sum to 1.

    Raises:
        ConfigError: A fixed weight is missing or names a language that is not there.
    """
    rows = {
        name: sum(shard.rows for shard in shards)
        for name, shards in _stream_shards(manifest, config).items()
    }
    weights: Mapping[str, float] = rows
    if config.mixing is not None and config.mixing.temperature is not None:
        exponent = config.mixing.temperature.exponent
        weights = {name: count**exponent for name, count in rows.items()}
    if config.mixing is not None and config.mixing.fixed is not None:
        weights = config.mixing.fixed.weights
        if set(weights) != set(rows):
            message = (
                f"data.mixing.fixed.weights must name the languages {sorted(rows)}, "
                f"got {sorted(weights)}"
            )
            raise ConfigError(message)
    total = sum(weights.values())
    return {name: weights[name] / total for name in rows}


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
        state: Where to begin; ``initial_state`` or what an earlier stream yielded.
    """
    rank, world_size = worker
    weights = mixing_weights(manifest, config)
    streams = {
        name: RowStream(
            addresses(manifest, shards),
            config=config,
            seed=seed,
            number=number,
            lanes=range(rank, config.num_lanes, world_size),
        )
        for number, (name, shards) in enumerate(_stream_shards(manifest, config).items())
    }
    step, taken = state.step, dict(state.rows)
    try:
        while True:
            counts = drawn_rows(
                list(weights.values()), num_rows=global_batch_size, seed=seed, step=step
            )
            pieces = []
            for (name, stream), count in zip(streams.items(), counts, strict=True):
                pieces += stream.rows(taken[name], taken[name] + count)
                taken[name] += count
            step += 1
            yield StepRows(rows=as_rows(pieces), state=DataState(step=step, rows=dict(taken)))
    finally:
        for stream in streams.values():
            stream.close()


def evaluation_rows(
    manifest: Manifest, config: DataConfig, *, split: str, batch_size: int, worker: tuple[int, int]
) -> Iterator[Rows]:
    """Yield this worker's share of a split in pieces; the workers cover every row once."""
    rank, world_size = worker
    batches = addresses(manifest, training_shards(manifest, config, split))[rank::world_size]
    reader = BatchReader(num_threads=1)
    try:
        pieces: list[pa.RecordBatch] = []
        waiting = 0
        for index, address in enumerate(batches):
            pieces.append(reader.submit([address]).result())
            waiting += address.rows
            if waiting >= batch_size or index == len(batches) - 1:
                yield as_rows([(0, piece) for piece in pieces])
                pieces, waiting = [], 0
    finally:
        reader.close()


def as_rows(pieces: Sequence[tuple[int, pa.RecordBatch]]) -> Rows:
    """Return record batches, each with its epoch, as numpy arrays."""
    if not pieces:
        none = np.zeros(0, dtype=np.int64)
        return Rows(
            token_ids_T=none, lengths_B=none, row_ids_B=none, epochs_B=none, languages_B=none
        )
    batch = pa.concat_batches([piece for _, piece in pieces])
    columns = {name: batch.column(name) for name in batch.schema.names}

    def values(name: str) -> IntArray | None:
        column: Any = columns.get(name)
        if column is None:
            return None
        flat = column.flatten() if pa.types.is_list(column.type) else column
        return flat.to_numpy(zero_copy_only=False).astype(np.int64)  # type: ignore[no-any-return]

    tokens, row_ids, languages = values("input_ids"), values("row_id"), values("language")
    assert tokens is not None  # noqa: S101  every shard has these three columns
    assert row_ids is not None  # noqa: S101
    assert languages is not None  # noqa: S101
    return Rows(
        token_ids_T=tokens,
        lengths_B=pc.list_value_length(columns["input_ids"]).to_numpy().astype(np.int64),
        row_ids_B=row_ids,
        epochs_B=np.repeat([epoch for epoch, _ in pieces], [p.num_rows for _, p in pieces]),
        languages_B=languages,
        labels_B=values("label"),
        token_labels_T=values("word_labels"),
        token_types_T=values("token_type_ids"),
    )


def _stream_shards(manifest: Manifest, config: DataConfig) -> dict[str, tuple[Shard, ...]]:
    shards = training_shards(manifest, config, config.train_split)
    if config.mixing is None:
        return {ALL_LANGUAGES: shards}
    return {
        language: tuple(shard for shard in shards if shard.language == language)
        for language in sorted({shard.language for shard in shards})
    }
