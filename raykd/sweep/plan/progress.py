"""How far runs are, from what they have left in storage."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from raykd.runs.checkpoint import committed_steps
from raykd.runs.metrics import evaluations
from raykd.runs.paths import RunPaths
from raykd.runs.result import read_result
from raykd.sweep.record import Metrics

_READERS = 16
"""Runs that are looked at together: storage may be far away."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a run is."""

    is_done: bool = False
    step: int = 0
    """Step of its newest checkpoint."""

    evaluations: tuple[Metrics, ...] = ()
    """So far, oldest first."""


def progress_of(runs: Sequence[RunPaths]) -> list[Progress]:
    """Return how far each run is.

    Raises:
        StorageError: Storage cannot be read.
    """
    with ThreadPoolExecutor(_READERS) as readers:
        return list(readers.map(_progress, runs))


def _progress(paths: RunPaths) -> Progress:
    # Committed ones alone: a driver or worker may have died while it wrote the newest.
    steps = committed_steps(paths.checkpoints)
    result = read_result(paths)
    return Progress(
        is_done=result is not None and result.is_done,
        step=steps[-1] if steps else 0,
        evaluations=tuple(evaluations(paths.metrics)),
    )
