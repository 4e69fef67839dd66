"""The metrics of a run, in storage: one JSON object per line, and TensorBoard where asked."""

import json
import time
from collections.abc import Sequence
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from raykd import storage
from raykd.distill.loop import FinishedStep

Record = dict[str, float]
"""Metric names such as train/loss to values; always with step and tokens."""

_REMOTE_SECONDS = 5.0
"""Object stores cannot append: the file is written again, but not more often than this."""


class MetricsLog:
    """Appends records to metrics.jsonl, and to TensorBoard where a directory is given.

    Opened at a step, it drops what a killed worker wrote past that step.
    """

    def __init__(self, uri: str, *, step: int, tensorboard_uri: str | None = None) -> None:
        self._uri = uri
        self._lines = [line for line, record in _lines(uri) if record["step"] <= step]
        self._written_at = 0.0
        self._events = (
            None
            if tensorboard_uri is None
            else SummaryWriter(tensorboard_uri, purge_step=step + 1)
        )
        self.flush()

    def append(self, record: Record) -> None:
        """Add one record; it may reach a remote store a little later."""
        self._lines.append(json.dumps(record))
        if storage.is_local(self._uri) or time.monotonic() - self._written_at > _REMOTE_SECONDS:
            self.flush()
        if self._events is not None:
            for name, value in record.items():
                self._events.add_scalar(name, value, int(record["step"]))

    def flush(self) -> None:
        """Write everything that has been appended."""
        storage.write_bytes(self._uri, "".join(f"{line}\n" for line in self._lines).encode())
        self._written_at = time.monotonic()

    def close(self) -> None:
        """Write everything and end TensorBoard's thread."""
        self.flush()
        if self._events is not None:
            self._events.close()


class Meter:
    """Means over the steps between two reports, and their speed."""

    def __init__(self) -> None:
        self._steps: list[FinishedStep] = []
        self._seconds = 0.0
        self._started = time.perf_counter()

    def add(self, finished: FinishedStep) -> None:
        """Count one step, and the time since the last one or since ``resume``."""
        self._steps.append(finished)
        now = time.perf_counter()
        self._seconds += now - self._started
        self._started = now

    def resume(self) -> None:
        """Start the clock again after work that is not training."""
        self._started = time.perf_counter()

    def record(self, tokens: int) -> Record:
        """Return the means since the last record, and begin anew."""
        steps, last = self._steps, self._steps[-1]

        def mean(values: Sequence[float]) -> float:
            return sum(values) / len(steps)

        record = {
            "step": last.step,
            "tokens": tokens,
            "train/loss": mean([step.loss for step in steps]),
            **{
                f"train/loss/{name}": mean([step.terms[name] for step in steps])
                for name in last.terms
            },
            "train/grad_norm": mean([step.grad_norm for step in steps]),
            "train/learning_rate": last.learning_rate,
            "train/tokens_per_second": sum(step.tokens for step in steps) / self._seconds,
        }
        self._steps, self._seconds = [], 0.0
        return record


def read_metrics(uri: str) -> list[Record]:
    """Return the records of a run so far; none before the first."""
    return [record for _, record in _lines(uri)]


def _lines(uri: str) -> list[tuple[str, Any]]:
    try:
        text = storage.read_bytes(uri).decode()
    except FileNotFoundError:
        return []
    return [(line, json.loads(line)) for line in text.splitlines()]
