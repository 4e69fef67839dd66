"""The rows of every optimizer step, resumable at any step with any number of workers.

Record batches are read in the order of ``raykd.data.order``. Where ``data.bucket_steps`` is more
than 1, the steps of a bucket exchange rows within each lane, so that each has rows of like length
and little is padded; each keeps its number of rows of every lane, so a worker needs no other
worker's rows to know its own.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from raykd.batch import IntArray, Rows
from raykd.config.schema.data import DataConfig
from raykd.data.lanes import BatchAddress, BatchReader, Lane, addresses, as_rows
from raykd.data.manifest import Manifest
from raykd.data.order import EpochOrder, drawn_rows
from raykd.data.selection import (
    DataState,
    evaluation_shards,
    mixing_weights,
    stream_order,
    stream_shards,
)

_BLOCK_POSITIONS = 1024
"""Positions gathered at once: a call into Arrow costs as much as copying 64 short rows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Block:
    """This worker's rows among a range of positions of one epoch."""

    start: int
    rows: Rows
    rows_before: IntArray
    """This worker's rows before each position, from the start to the stop of the range."""

    tokens_before: IntArray
    """Tokens before each row, and of all rows."""

    @property
    def stop(self) -> int:
        return self.start + len(self.rows_before) - 1

    def between(self, start: int, stop: int) -> Rows:
        """Return the rows among positions [start, stop) as views."""
        first, last = self.rows_before[start - self.start], self.rows_before[stop - self.start]
        tokens = slice(self.tokens_before[first], self.tokens_before[last])
        return self.rows.select(slice(first, last), tokens)


class RowStream:
    """Rows of some shards in the order of ``raykd.data.order``, epoch after epoch, for ever."""

    def __init__(
        self,
        batches: Sequence[BatchAddress],
        *,
        reader: BatchReader,
        config: DataConfig,
        seed: tuple[int, int],
        lanes: range,
    ) -> None:
        """Begin to read nothing yet.

        Args:
            batches: The record batches of the shards.
            reader: Reads them.
            config: Lanes and window.
            seed: Seed of the run and number of the stream in it.
            lanes: The lanes of this worker.
        """
        self._batches = batches
        self._reader = reader
        self._config = config
        self._seed = seed
        self._lanes = lanes
        self._open: dict[tuple[int, int], Lane] = {}
        self._orders: dict[int, EpochOrder] = {}
        self._block: _Block | None = None
        self._rows_per_epoch = sum(batch.rows for batch in batches)

    def rows(self, start: int, stop: int) -> list[Rows]:
        """Return this worker's rows among positions [start, stop), in order, in pieces.

        Calls must come with rising positions, each starting where the last one stopped.
        """
        pieces = []
        while start < stop:
            if self._block is None or start == self._block.stop:
                self._block = self._read_block(start)
            end = min(stop, self._block.stop)
            if len(piece := self._block.between(start, end)):
                pieces.append(piece)
            start = end
        return pieces

    def lanes(self, start: int, stop: int) -> IntArray:
        """Return the lane of each of this worker's rows among positions [start, stop)."""
        pieces = []
        while start < stop:
            epoch, first = divmod(start, self._rows_per_epoch)
            last = min(first + stop - start, self._rows_per_epoch)
            lane_of_position = self._order(epoch).lanes_between(first, last)
            pieces.append(lane_of_position[np.isin(lane_of_position, self._lanes)])
            start += last - first
        return np.concatenate([np.zeros(0, dtype=np.int64), *pieces])

    def _read_block(self, start: int) -> _Block:
        epoch, first = divmod(start, self._rows_per_epoch)
        # A block ends with its epoch: the next one deals the record batches anew.
        last = min(first + _BLOCK_POSITIONS, self._rows_per_epoch)
        lane_of_position = self._order(epoch).lanes_between(first, last)
        is_mine = np.isin(lane_of_position, self._lanes)
        rows = self._lane_rows(epoch, first, lane_of_position[is_mine])
        return _Block(
            start=start,
            rows=rows,
            rows_before=np.concatenate([[0], np.cumsum(is_mine)]),
            tokens_before=np.concatenate([[0], np.cumsum(rows.lengths_B)]),
        )

    def _lane_rows(self, epoch: int, first: int, lane_of_row: IntArray) -> Rows:
        """Return the next row of each lane that is listed, in the order of the list."""
        order = self._order(epoch)
        before = order.rows_before(first)
        pieces = []
        for lane, count in enumerate(np.bincount(lane_of_row).tolist()):
            if count == 0:
                continue
            pieces += self._lane(epoch, lane, int(before[lane])).take(count)
            if before[lane] + count == order.rows_per_lane[lane]:
                # The lane has ended: its last window need not stay in memory.
                del self._open[epoch, lane]
        if not pieces:
            return Rows.empty()
        # The pieces are grouped by lane; the inverse of that stable sort restores the order.
        place_in_pieces = np.argsort(np.argsort(lane_of_row, kind="stable"))
        return as_rows(pa.concat_batches(pieces).take(pa.array(place_in_pieces)), epoch=epoch)

    def _order(self, epoch: int) -> EpochOrder:
        if epoch not in self._orders:
            order = stream_order(self._batches, self._config, seed=self._seed, epoch=epoch)
            # One is kept: positions rise, and an earlier epoch drawn anew has the same order.
            self._orders = {epoch: order}
        return self._orders[epoch]

    def _lane(self, epoch: int, lane: int, start: int) -> Lane:
        if (epoch, lane) not in self._open:
            self._open[epoch, lane] = Lane(
                [self._batches[index] for index in self._order(epoch).lanes[lane]],
                reader=self._reader,
                window=self._config.shuffle_window,
                seed=(*self._seed, epoch, lane),
                start=start,
            )
        return self._open[epoch, lane]


@dataclass(frozen=True, kw_only=True, slots=True)
class StepRows:
    """What one worker reads for one step."""

    rows: Rows
    state: DataState
    """Where the data stands after this step."""


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
        for number, (name, shards) in enumerate(stream_shards(manifest, config).items())
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
            # A resume within the bucket reads all of it again, because its steps exchange rows:
            # until the last one is done, the state says where the bucket begins.
            before = dict(taken)
            pieces: list[list[Rows]] = [[] for _ in counts]
            for (name, stream), of_stream in zip(
                streams.items(), zip(*counts, strict=True), strict=True
            ):
                dealt = _dealt(stream, before[name], of_stream, order)
                pieces = [earlier + more for earlier, more in zip(pieces, dealt, strict=True)]
                taken[name] += sum(of_stream)
            for step, of_step in enumerate(pieces, start=first + 1):
                # Else the resumed run has done it; its rows only took part in the exchange.
                if step > state.step:
                    rows = taken if step == first + len(pieces) else before
                    after = replace(state, step=step, rows=dict(rows))
                    yield StepRows(rows=Rows.concatenate(of_step), state=after)
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
    rows = Rows.concatenate(list(itertools.chain.from_iterable(of_steps)))
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
    """Yield this worker's share of a split in pieces; the workers cover every row once.

    Rows are in the languages that are evaluated on.
    """
    rank, world_size = worker
    # Whole record batches: workers may get different numbers of pieces, and some of them none.
    batches = addresses(manifest, evaluation_shards(manifest, config, split))[rank::world_size]
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


def steps_by_length(
    lengths_B: IntArray, *, lanes_B: IntArray, steps_B: IntArray, order: IntArray
) -> IntArray:
    """Return the step of each row of a bucket when its steps have exchanged rows.

    Args:
        lengths_B: Tokens of each row.
        lanes_B: The lane that each row comes from.
        steps_B: The step that reads each row, counted within the bucket.
        order: The steps, from the one that gets the shortest rows to that of the longest.
    """
    rank = np.argsort(order)
    # Of each lane, the slots in the order of the steps take the rows in the order of their
    # lengths: every step keeps its number of rows of every lane.
    places = np.lexsort((rank[steps_B], lanes_B))
    exchanged_B = np.empty_like(steps_B)
    exchanged_B[np.lexsort((lengths_B, lanes_B))] = steps_B[places]
    return exchanged_B


def bucket_order(num_steps: int, *, seed: int, bucket: int) -> IntArray:
    """Draw which step of a bucket gets the shortest rows, and so on to the longest."""
    return np.random.default_rng((seed, 2, bucket)).permutation(num_steps)
