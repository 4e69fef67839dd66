"""The order of examples: pure arithmetic, the same at any number of workers.

The record batches of a stream are dealt at random to a fixed number of lanes. Position p of
an epoch is row p // lanes of lane p % lanes; where lanes end at different rows, the ones that
have ended are passed over, so every row has exactly one position. Worker r of W reads the
lanes with lane % W == r.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from raykd.batch import IntArray


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochOrder:
    """Which record batches each lane reads in one epoch, and how positions map to its rows."""

    lanes: tuple[IntArray, ...]
    """Indices of the record batches of each lane, in reading order."""

    rows_per_lane: IntArray
    """Rows of each lane."""

    def rows_before(self, position: int) -> IntArray:
        """Return how many rows of each lane stand before a position of the epoch."""
        lengths = np.sort(self.rows_per_lane)
        longer = len(lengths) - np.arange(len(lengths))
        # Up to row lengths[j] of every lane, steps[j] lanes at a time: the ones not ended.
        steps = np.diff(lengths, prepend=0)
        ends = np.cumsum(steps * longer)
        if position >= ends[-1]:
            return self.rows_per_lane.copy()
        segment = int(np.searchsorted(ends, position, side="right"))
        past = position - (ends[segment] - steps[segment] * longer[segment])
        # Full rounds over the lanes not ended, and the lanes that had their turn in the next one.
        row, extra = divmod(int(past), int(longer[segment]))
        row += int(lengths[segment] - steps[segment])
        active = np.cumsum(self.rows_per_lane > row)
        return np.minimum(self.rows_per_lane, row) + (
            (self.rows_per_lane > row) & (active <= extra)
        )

    def lanes_between(self, first: int, last: int) -> IntArray:
        """Return the lane of each position of the epoch in [first, last)."""
        before = self.rows_before(first)
        counts = self.rows_before(last) - before
        lanes = np.repeat(np.arange(len(counts)), counts)
        rows = np.arange(len(lanes)) - np.repeat(np.cumsum(counts) - counts - before, counts)
        # Row r of every lane comes before row r + 1 of any, the lanes in their order.
        return lanes[np.lexsort((lanes, rows))]


def epoch_order(
    batch_rows: Sequence[int], *, num_lanes: int, seed: int, epoch: int, stream: int = 0
) -> EpochOrder:
    """Deal record batches to lanes for one epoch of one stream.

    Args:
        batch_rows: Rows of each record batch.
        num_lanes: Lanes to deal to.
        seed: Seed of the run.
        epoch: How often the stream has been read through before.
        stream: Number of the stream, so that languages are shuffled independently.
    """
    generator = np.random.default_rng((seed, stream, epoch))
    permutation = generator.permutation(len(batch_rows))
    lanes = tuple(permutation[lane::num_lanes] for lane in range(num_lanes))
    rows = np.asarray(batch_rows, dtype=np.int64)
    return EpochOrder(
        lanes=lanes, rows_per_lane=np.array([rows[lane].sum() for lane in lanes], dtype=np.int64)
    )


def drawn_rows(
    weights: Sequence[float], *, num_rows: int, seed: int, step: int
) -> tuple[int, ...]:
    """Draw how many rows of each language a step takes: a pure function of its arguments."""
    if len(weights) == 1:
        return (num_rows,)
    # float64: numpy refuses probabilities that add up to more than 1.
    shares = np.asarray(weights, dtype=np.float64)
    generator = np.random.default_rng((seed, 1, step))
    return tuple(int(n) for n in generator.multinomial(num_rows, shares / shares.sum()))
