"""The rows of one stream at any positions, read from storage a block at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from raykd.batch import IntArray, Rows
from raykd.config.schema.data import DataConfig
from raykd.data.lanes import BatchAddress, BatchReader, Lane, windows
from raykd.data.order import EpochOrder, epoch_order
from raykd.data.rows import as_rows

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
        of_rows = slice(first, last)
        of_tokens = slice(self.tokens_before[first], self.tokens_before[last])

        def cut(values: IntArray | None, chosen: slice) -> IntArray | None:
            return None if values is None else values[chosen]

        return Rows(
            token_ids_T=self.rows.token_ids_T[of_tokens],
            lengths_B=self.rows.lengths_B[of_rows],
            row_ids_B=self.rows.row_ids_B[of_rows],
            epochs_B=self.rows.epochs_B[of_rows],
            languages_B=self.rows.languages_B[of_rows],
            labels_B=cut(self.rows.labels_B, of_rows),
            token_labels_T=cut(self.rows.token_labels_T, of_tokens),
            token_types_T=cut(self.rows.token_types_T, of_tokens),
        )


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
                del self._open[epoch, lane]
        if not pieces:
            return Rows.empty()
        place_in_pieces = np.argsort(np.argsort(lane_of_row, kind="stable"))
        return as_rows(pa.concat_batches(pieces).take(pa.array(place_in_pieces)), epoch=epoch)

    def _order(self, epoch: int) -> EpochOrder:
        if epoch not in self._orders:
            order = _order_of(self._batches, self._config, seed=self._seed, epoch=epoch)
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
    order = _order_of(batches, config, seed=seed, epoch=epoch)
    found: list[int] = []
    for lane, rows in zip(order.lanes, order.rows_before(position).tolist(), strict=True):
        left = rows
        for window in windows(lane.tolist(), config.shuffle_window):
            if left <= 0:
                break
            found += window
            left -= sum(batches[index].rows for index in window)
    return [batches[index] for index in sorted(found)]


def _order_of(
    batches: Sequence[BatchAddress], config: DataConfig, *, seed: tuple[int, int], epoch: int
) -> EpochOrder:
    of_run, stream = seed
    return epoch_order(
        [batch.rows for batch in batches],
        num_lanes=config.num_lanes,
        seed=of_run,
        epoch=epoch,
        stream=stream,
    )
