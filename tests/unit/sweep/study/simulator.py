"""Runs what a study hands out, event by event, and leaves in storage what real runs leave.

No model is trained: each run follows a script of metrics. A driver may die at any event.
"""

import dataclasses
import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from raykd.runs.checkpoint import checkpoint_name, committed_steps
from raykd.runs.paths import RunPaths
from raykd.runs.result import RunResult
from raykd.runs.retry import FailureKind
from raykd.storage.published.directory import COMMITTED
from raykd.sweep.ledger import SweepPaths, read_records
from raykd.sweep.plan.progress import progress_of
from raykd.sweep.record import Metrics, Record, State
from raykd.sweep.study.resume import resumed
from raykd.sweep.study.study import Study

STEPS = 10
"""Between two evaluations."""

TOKENS_PER_STEP = 10

CHECKPOINT_EVERY = 2
"""Evaluations."""


class DriverDiedError(Exception):
    """The driver is gone in the middle of its work."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Script:
    """What becomes of one run."""

    values: tuple[float, ...]
    """Of the metric, one for each evaluation."""

    failures: int = 0
    """Times that it fails."""

    fails_after: int = 0
    """Evaluations before each failure."""

    kind: FailureKind = FailureKind.FAILED
    """Of its failures."""


def evaluation(index: int, value: float) -> Metrics:
    """Return the evaluation of a run with so many before it."""
    step = STEPS * (index + 1)
    return {"step": step, "tokens": TOKENS_PER_STEP * step, "eval/loss": value}


def as_found(
    records: Iterable[Record], paths: SweepPaths, *, retries_failed: bool = False
) -> list[Record]:
    """Return planned records as the next start of a sweep makes them from storage."""
    planned = list(records)
    progress = progress_of([RunPaths(record.run_uri) for record in planned])
    found = [
        replace(
            record,
            state=State.DONE if so_far.is_done else State.WAITING,
            evaluations=so_far.evaluations,
        )
        for record, so_far in zip(planned, progress, strict=True)
    ]
    known = read_records(paths, [record.id for record in planned])
    return resumed(found, known, retries_failed=retries_failed)


class Cluster:
    """Trains the runs of a study by their scripts, several at a time, in a random order."""

    def __init__(self, scripts: Mapping[str, Script], *, seed: int = 0) -> None:
        self._scripts = scripts
        self._random = random.Random(seed)
        self._failures = {run_id: script.failures for run_id, script in scripts.items()}
        self._running: dict[str, int] = {}
        """Evaluations of each run that is being trained."""
        self.started: list[str] = []
        self.most_at_once = 0
        self.num_events = 0

    def run(self, study: Study, *, events: int | None = None) -> None:
        """Bring a study to its end.

        Args:
            study: Hands out the runs.
            events: The driver dies after so many; None where it does not.

        Raises:
            DriverDiedError: It has.
        """
        self._running = {}
        last = None if events is None else self.num_events + events
        while not study.is_over:
            while process := study.next_process():
                for record in process:
                    self._count(last)
                    study.started(record.id)
                    self.started.append(record.id)
                    self._running[record.id] = _restored(record)
                self.most_at_once = max(self.most_at_once, len(self._running))
            if self._running:
                self._advance(study, self._random.choice(sorted(self._running)), last)

    def _count(self, last: int | None) -> None:
        if self.num_events == last:
            raise DriverDiedError
        self.num_events += 1

    def _advance(self, study: Study, run_id: str, last: int | None) -> None:
        """Let one run fail, end, or take the steps to its next evaluation."""
        script, paths = self._scripts[run_id], RunPaths(study.records[run_id].run_uri)
        position = self._running[run_id]
        if self._failures[run_id] and position == script.fails_after:
            self._count(last)
            self._failures[run_id] -= 1
            del self._running[run_id]
            self._count(last)
            study.failed(
                run_id,
                error_class="ModelError",
                error="it is wrong",
                kind=script.kind,
            )
        elif position == len(script.values):
            _write_result(paths, script.values)
            self._end(study, run_id, last)
        else:
            metrics = evaluation(position, script.values[position])
            _write_evaluation(paths, metrics, has_checkpoint=position % CHECKPOINT_EVERY == 1)
            self._running[run_id] += 1
            self._count(last)
            study.reported(run_id, metrics)
            if study.should_stop(run_id):
                self._end(study, run_id, last)

    def _end(self, study: Study, run_id: str, last: int | None) -> None:
        del self._running[run_id]
        self._count(last)
        study.ended(run_id)


def _restored(record: Record) -> int:
    """Go back to the newest checkpoint of a run; return the evaluations up to it."""
    paths = RunPaths(record.run_uri)
    steps = committed_steps(paths.checkpoints)
    kept = steps[-1] // STEPS if steps else 0
    metrics = Path(paths.metrics)
    lines = metrics.read_text().splitlines(keepends=True) if metrics.exists() else []
    metrics.parent.mkdir(parents=True, exist_ok=True)
    metrics.write_text("".join(lines[:kept]))
    return kept


def _write_evaluation(paths: RunPaths, metrics: Metrics, *, has_checkpoint: bool) -> None:
    with Path(paths.metrics).open("a") as stream:
        stream.write(f"{json.dumps(metrics)}\n")
    if has_checkpoint:
        checkpoint = Path(paths.checkpoints, checkpoint_name(int(metrics["step"])))
        checkpoint.mkdir(parents=True)
        (checkpoint / COMMITTED).touch()


def _write_result(paths: RunPaths, values: tuple[float, ...]) -> None:
    step = STEPS * len(values)
    metrics = evaluation(len(values) - 1, values[-1])
    result = RunResult(
        is_done=True, step=step, num_steps=step, metrics=metrics, model_uri=paths.model
    )
    Path(paths.result).write_text(json.dumps(dataclasses.asdict(result)))
