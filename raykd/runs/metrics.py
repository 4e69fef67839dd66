"""The metrics of a run: in storage, one JSON object per line, and in trackers if configured."""

import json
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Protocol

import torch

from raykd import strict_json
from raykd.distill.loop import FinishedStep
from raykd.machine.devices import peak_memory_bytes
from raykd.runs import append_log
from raykd.runs.append_log import AppendedFile

Record = dict[str, float]
"""Metric names such as train/loss to values; always with step and tokens."""


MACHINE_METRICS = (
    "train/tokens_per_second",
    "train/tflops_per_second",
    "train/mfu",
    "train/data_wait_share",
    "train/peak_memory_mb",
)
"""What a record says of the machine: the same steps taken again say something else."""

BEST_STEP = "best/step"
"""Of a run that keeps its best weights, the step of those."""

_TEST_LOSS = "test/loss"
_SCORES = ("eval/loss", _TEST_LOSS, BEST_STEP)
"""One of these at least is in a record of scores; a training report has none."""


class Log(Protocol):
    """Takes the records of a run."""

    def append(self, record: Record) -> None:
        """Add one record."""

    def flush(self) -> None:
        """Make sure that storage has every record."""


class Tracker(Protocol):
    """Shows the records of a run elsewhere."""

    def log(self, record: Record) -> None:
        """Take one record, once."""

    def close(self, *, is_done: bool) -> None:
        """Bring everything to its place; tell whether the run has taken its last step."""


class SilentLog:
    """Takes records and forgets them: all workers compute them, the first one writes."""

    def append(self, record: Record) -> None:
        """Forget one record."""

    def flush(self) -> None:
        """Do nothing: there is nothing to write."""


class MetricsLog:
    """Appends records to metrics.jsonl, and gives trackers every record of that file.

    Opened at a step, it drops what a killed worker wrote past that step. In an object store the
    file is written in the background: training goes on while the store is away.
    """

    def __init__(self, uri: str, *, step: int, trackers: Sequence[Tracker] = ()) -> None:
        self._trackers = trackers
        kept = list(takewhile(lambda read: read[1]["step"] <= step, _lines(uri)))
        # Up to the step of the checkpoint: later steps are taken again, and written again.
        self._file = AppendedFile(uri, content="".join(f"{line}\n" for line, _ in kept).encode())
        for _, record in kept:
            self._track(record)

    def append(self, record: Record) -> None:
        """Add one record; it reaches an object store a little later, or with ``flush``."""
        self._file.append(f"{strict_json.text(record)}\n".encode())
        self._track(record)

    def flush(self) -> None:
        """Make sure that storage has every record; from any thread."""
        self._file.flush()

    def close(self, *, is_done: bool) -> None:
        """Write what is left and close the trackers.

        Args:
            is_done: The run has taken its last step.
        """
        self._file.close(is_done=is_done)
        for tracker in self._trackers:
            tracker.close(is_done=is_done)

    def _track(self, record: Record) -> None:
        for tracker in self._trackers:
            tracker.log(record)


class MetricsTail:
    """Reads the records that a run adds, as they come."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._position = append_log.size_bytes(uri)

    def new_records(self) -> list[Record]:
        """Return what has been added since the last call, complete lines only."""
        size = append_log.size_bytes(self._uri)
        # Shorter than before: a restarted worker dropped what it will do again.
        self._position = min(self._position, size)
        if self._position == size:
            return []
        # One byte more: it shows whether the position is still the end of a line.
        first = max(self._position - 1, 0)
        added = append_log.read_bytes(self._uri, start=first)
        # It may have grown again since: begin after the next end of a line.
        begin = added.find(b"\n") + 1 if self._position else 0
        end = added.rfind(b"\n") + 1
        self._position = first + end
        return [_record(line) for line in added[begin:end].splitlines()]


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceUse:
    """What turns the speed of a run into the use of one worker's device."""

    device: torch.device
    flops_per_token: float
    """Operations on the device for each token of the run, teachers included: a worker's share of
    them, as ``raykd.planning.flops`` counts them."""

    device_flops: float
    """Operations per second of a large product of matrices in the run's precision, measured."""


class Meter:
    """Means over the steps between two reports, their speed, and what it takes of the device.

    A step that scores no position, as one of short texts of which no token is masked, has no loss
    and no gradient: it is no part of their means.
    """

    def __init__(self, use: DeviceUse) -> None:
        self._use = use
        self._last: FinishedStep | None = None
        self._started = time.perf_counter()
        self._clear()

    def add(self, finished: FinishedStep) -> None:
        """Count one step, and the time since the last one or since ``resume``."""
        self._last = finished
        self._tokens += finished.tokens
        self._data_wait_seconds += finished.data_wait_seconds
        if finished.positions:
            self._num_losses += 1
            self._sums["train/loss"] += finished.loss
            for name, value in finished.terms.items():
                self._sums[f"train/loss/{name}"] += value
            self._sums["train/grad_norm"] += finished.grad_norm
        now = time.perf_counter()
        self._seconds += now - self._started
        self._started = now

    def resume(self) -> None:
        """Start the clock again after work that is not training."""
        self._started = time.perf_counter()

    def record(self, tokens: int) -> Record:
        """Return the means over the steps since the last record, and begin anew.

        Tokens are those of all workers; operations per second are of one worker's device, and
        train/mfu is their share of what it was measured to do. The wait for data and the peak of
        memory are this worker's. The device is not waited for.

        Args:
            tokens: Trained on since the start of the run.
        """
        assert self._last is not None  # noqa: S101  a record follows a step
        tokens_per_second = self._tokens / self._seconds
        flops = tokens_per_second * self._use.flops_per_token
        record = {
            "step": self._last.step,
            "tokens": tokens,
            **{name: total / self._num_losses for name, total in self._sums.items()},
            "train/learning_rate": self._last.learning_rate,
            "train/tokens_per_second": tokens_per_second,
            "train/tflops_per_second": flops / 1e12,
            "train/mfu": flops / self._use.device_flops,
            "train/data_wait_share": self._data_wait_seconds / self._seconds,
            "train/peak_memory_mb": peak_memory_bytes(self._use.device) / 1e6,
        }
        self._clear()
        return record

    def _clear(self) -> None:
        # Sums, not steps: a worker that never reports must not remember every step.
        self._sums: defaultdict[str, float] = defaultdict(float)
        self._num_losses = self._tokens = 0
        self._seconds = self._data_wait_seconds = 0.0


def measured(record: Record) -> Record:
    """Return what a record holds at its step, without the step."""
    return {name: value for name, value in record.items() if name != "step"}


def read_metrics(uri: str) -> list[Record]:
    """Return the records of a run so far; none before the first."""
    return [record for _, record in _lines(uri)]


def evaluations(uri: str) -> list[Record]:
    """Return the evaluations of a run so far, oldest first: all scores of a step in one record.

    So the last one of a run that is done has what its model scores on the test split, too.
    """
    by_step: dict[float, Record] = {}
    for record in _scores(uri):
        by_step[record["step"]] = by_step.get(record["step"], {}) | record
    return list(by_step.values())


def scores_of(uri: str, step: int) -> Record:
    """Return all scores of the weights after a step, on the test split too; empty before any."""
    scores: Record = {}
    for record in _scores(uri):
        # The test split is scored at the end of a run, whichever weights it keeps.
        if record.get(BEST_STEP, record["step"]) == step:
            scores = scores | record | scores
    return scores


def is_finished(uri: str) -> bool:
    """Tell whether a run has noted its last record: the scores of its model on the test split."""
    return any(_TEST_LOSS in record or BEST_STEP in record for record in read_metrics(uri))


def forgetting(first: Record, now: Record) -> Record:
    """Return how much accuracy is lost since the first evaluation, in all and per language.

    Negative where it is gained.
    """
    return {
        f"eval/forgetting{name.removeprefix('eval/accuracy')}": value - now[name]
        for name, value in first.items()
        if (name == "eval/accuracy" or name.startswith("eval/accuracy/")) and name in now
    }


def newest_evaluation(uri: str) -> Record:
    """Return the last evaluation of a run; empty before the first."""
    return next(reversed(evaluations(uri)), {})


def _scores(uri: str) -> list[Record]:
    return [record for record in read_metrics(uri) if not record.keys().isdisjoint(_SCORES)]


def _lines(uri: str) -> list[tuple[str, Record]]:
    # A writer that was killed may have left the last line unfinished.
    complete, _, _ = append_log.read_bytes(uri).decode().rpartition("\n")
    return [(line, _record(line)) for line in complete.splitlines()]


def _record(line: str | bytes) -> Record:
    return strict_json.numbers(json.loads(line))
