"""What the order of examples costs each worker, and how evenly it shares out the rows."""

import time
from dataclasses import dataclass

import numpy as np
from raykd.data.manifest import RECORD_BATCH_BYTES
from raykd.data.order import EpochOrder, epoch_order
from raykd.data.stream import _BLOCK_POSITIONS

ROWS_PER_WORKER = 32
"""Of one step."""

_BATCH_ROWS = 4096
"""Of 128 tokens of two bytes: one MiB."""

_BATCHES_PER_SHARD = 64
_SHUFFLE_WINDOW = 4
"""The default of data.shuffle_window."""

_SEED = 17


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderCase:
    """Workers, and the lanes and data that they read."""

    num_workers: int
    num_lanes: int
    num_batches: int
    """Record batches of the training split."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderFigures:
    """Of one case."""

    epoch_seconds: float
    """CPU time of each worker at the start of an epoch."""

    step_seconds: float
    """CPU time of each worker in a step: it maps all positions of the step to lanes."""

    fullest_ratio: float
    """Rows of the fullest worker to the mean, in the middle one of all steps."""

    lost_fraction: float
    """Of an epoch's worker time: the fullest worker of each step keeps the others waiting."""

    window_bytes: int
    """What a worker holds of its lanes, the windows read ahead included."""


def order_figures(case: OrderCase, *, num_steps: int) -> OrderFigures:
    """Measure a case on steps spread evenly over an epoch."""
    rows = _batch_rows(case.num_batches)
    started = time.process_time()
    order = epoch_order(rows, num_lanes=case.num_lanes, seed=_SEED, epoch=0)
    epoch_seconds = time.process_time() - started
    step_rows = ROWS_PER_WORKER * case.num_workers
    steps = np.linspace(0, sum(rows) // step_rows - 1, num_steps).astype(np.int64)
    ratios = np.array([_ratio(order, case, int(step) * step_rows, step_rows) for step in steps])
    started = time.process_time()
    timed = steps[:: max(num_steps // 20, 1)]
    for step in timed:
        _map_positions(order, case, int(step) * step_rows, step_rows)
    lanes = -(-case.num_lanes // case.num_workers)
    return OrderFigures(
        epoch_seconds=epoch_seconds,
        step_seconds=(time.process_time() - started) / len(timed),
        fullest_ratio=float(np.median(ratios)),
        lost_fraction=float(1 - 1 / ratios.mean()),
        window_bytes=2 * lanes * _SHUFFLE_WINDOW * RECORD_BATCH_BYTES,
    )


def _batch_rows(num_batches: int) -> list[int]:
    """Return the rows of record batches: full ones, but for the last of each shard."""
    rows = np.full(num_batches, _BATCH_ROWS)
    last = np.arange(_BATCHES_PER_SHARD - 1, num_batches, _BATCHES_PER_SHARD)
    rows[last] = np.random.default_rng(_SEED).integers(1, _BATCH_ROWS, len(last))
    return [int(number) for number in rows]


def _ratio(order: EpochOrder, case: OrderCase, start: int, step_rows: int) -> float:
    """Return the rows of the fullest worker of a step, to the mean of all."""
    of_lanes = order.rows_before(start + step_rows) - order.rows_before(start)
    worker_of_lane = np.arange(case.num_lanes) % case.num_workers
    of_workers = np.bincount(worker_of_lane, weights=of_lanes, minlength=case.num_workers)
    return float(of_workers.max() / of_workers.mean())


def _map_positions(order: EpochOrder, case: OrderCase, start: int, step_rows: int) -> None:
    """Do what RowStream does about the order of a step, a block at a time, on worker 0."""
    mine = range(0, case.num_lanes, case.num_workers)
    for first in range(start, start + step_rows, _BLOCK_POSITIONS):
        last = min(first + _BLOCK_POSITIONS, start + step_rows)
        order.rows_before(first)
        np.isin(order.lanes_between(first, last), mine)
