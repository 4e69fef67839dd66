"""A run under Ray Train: attempts, one after the other, until it is done.

Storage is the truth: workers find the newest checkpoint themselves, and Ray is told of metrics
only. So an attempt may end in any way Ray knows, and the next one continues exactly, with as many
workers as can be placed.
"""

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ray.train import UserCallback

from raykd.config.schema.run import RunConfig
from raykd.errors import RaykdError, StorageError, TrainingFailedError
from raykd.ray_cluster.placement import described_room, worker_resources, workers_with_room
from raykd.runs.checkpoint import committed_steps
from raykd.runs.paths import RunPaths
from raykd.runs.result import RunResult
from raykd.runs.retry import (
    Action,
    Budget,
    Counters,
    Decision,
    FailureKind,
    decide_retry,
    is_deterministic,
)
from raykd.storage import uris
from raykd.train.on_ray.attempt import Attempt, AttemptSpec, run_attempt
from raykd.train.worker import stopped_result

_POLL_SECONDS = 0.2
_RETRY_SECONDS = 10.0
"""For a look into storage that only a message needs."""

_HINTS = {
    FailureKind.OUT_OF_MEMORY: "; a smaller train.micro_batch_size needs less memory",
    FailureKind.WORKER_DIED: "; where memory was short, a lower train.micro_batch_size needs less",
}


def train_under_ray(
    config: RunConfig,
    paths: RunPaths,
    *,
    on_message: Callable[[str], None],
    should_stop: Callable[[], bool] = lambda: False,
    callbacks: Sequence[UserCallback] = (),
    is_alone: bool = False,
) -> RunResult:
    """Run the workers until the run is done or to be stopped, starting them again where needed.

    Args:
        config: The run, with absolute paths.
        paths: Where it writes.
        on_message: Told in one line why the workers are started again, and where they continue;
            and what they wait for, where that takes long.
        should_stop: Looked at all the time; the workers then stop with a checkpoint.
        callbacks: Of Ray Train, told of every evaluation.
        is_alone: Whether nothing else in this Ray job has workers.

    Raises:
        RaykdError: What a worker raised, where another attempt would raise it again.
        TrainingFailedError: The retries are spent.
    """
    run = _Run(
        config=config,
        paths=paths,
        tell=on_message,
        should_stop=should_stop,
        callbacks=callbacks,
        is_alone=is_alone,
    )
    return run.train()


@dataclass(kw_only=True, slots=True)
class _Run:
    """The attempts at one run so far."""

    config: RunConfig
    paths: RunPaths
    tell: Callable[[str], None]
    should_stop: Callable[[], bool]
    callbacks: Sequence[UserCallback]
    is_alone: bool
    counters: Counters = field(default_factory=Counters)
    failed_at: int = 0
    """Step of the newest checkpoint at the last failure."""

    def train(self) -> RunResult:
        while True:
            attempt = self._attempt()
            result = attempt.result
            step = self._newest_step() if result is None else result.step
            if attempt.kind in (None, FailureKind.STOPPED):
                return result or stopped_result(self.config, step=step)
            self._go_on(attempt, step)
            if self.should_stop():
                return stopped_result(self.config, step=step)

    def _attempt(self) -> Attempt:
        cluster = self.config.cluster
        most = cluster.num_workers
        num_workers = workers_with_room(
            worker_resources(cluster),
            least=cluster.min_workers or most,
            most=most,
            should_stop=self.should_stop,
        )
        if num_workers < most:
            self.tell(f"{num_workers} of {most} workers train until there is room for more")
        spec = AttemptSpec(
            config=self.config,
            paths=self.paths,
            # Never that of an attempt before, whose workers may still be about to end.
            name=uuid.uuid4().hex[:8],
            num_workers=num_workers,
            callbacks=self.callbacks,
            should_stop=self.should_stop,
            tell=self.tell,
            is_alone=self.is_alone,
        )
        return run_attempt(spec)

    def _go_on(self, attempt: Attempt, step: int) -> None:
        """Say and wait what the decision demands.

        Raises:
            RaykdError: It is to give up.
        """
        kind = attempt.kind
        assert kind is not None  # noqa: S101  a run that is done goes on nowhere
        # Steps that were gained shorten the pause, and give back nothing of the budget.
        decision = decide_retry(kind, self.counters, self._budget, gained=step > self.failed_at)
        self.counters = decision.counters
        if decision.action is Action.GIVE_UP:
            raise self._final_error(kind, attempt)
        if decision.action is Action.RETRY:
            self.failed_at = step
        self.tell(self._told(kind, attempt, decision, step=step))
        self._pause(decision.pause_seconds)

    @property
    def _budget(self) -> Budget:
        cluster = self.config.cluster
        return Budget(max_failures=cluster.max_failures, max_preemptions=cluster.max_preemptions)

    def _told(self, kind: FailureKind, attempt: Attempt, decision: Decision, *, step: int) -> str:
        reason = kind.value if attempt.error is None else f"{kind.value}: {attempt.text}"
        cluster = self.config.cluster
        budget = ""
        if decision.action is Action.RETRY:
            budget = f" (failure {self.counters.failures} of {cluster.max_failures} allowed)"
        elif kind is FailureKind.PREEMPTED:
            limit = cluster.max_preemptions
            allowed = "" if limit is None else f" of {limit} allowed"
            budget = f" (preemption {self.counters.preemptions}{allowed})"
        pause = f" in {decision.pause_seconds:g} s" if decision.pause_seconds else ""
        return f"{reason}{_HINTS.get(kind, '')}{budget}; continuing after step {step}{pause}"

    def _final_error(self, kind: FailureKind, attempt: Attempt) -> RaykdError:
        error = attempt.error
        if isinstance(error, RaykdError) and is_deterministic(error):
            return error
        if kind is FailureKind.NO_PLACE:
            return TrainingFailedError(self._no_place())
        if kind is FailureKind.PREEMPTED:
            message = (
                f"the machines of the workers were taken away {self.counters.preemptions} times, "
                "and cluster.max_preemptions allows no more; the same command continues"
            )
            return TrainingFailedError(message)
        times = max(self.counters.failures, 1)
        message = (
            f"the workers failed {times} times, the last time: {kind.value}: {attempt.text}"
            f"{_HINTS.get(kind, '')}. The same command continues; with cluster.num_workers=0 the "
            "run fails in this process, with its traceback"
        )
        return TrainingFailedError(message)

    def _no_place(self) -> str:
        cluster = self.config.cluster
        least = cluster.min_workers or cluster.num_workers
        wanted = described_room(worker_resources(cluster), least)
        return (
            f"there is no place for the workers: {wanted}. Lower cluster.num_workers, "
            "cpus_per_worker or gpus_per_worker, set cluster.min_workers, or add machines; the "
            "same command continues"
        )

    def _newest_step(self) -> int:
        """Return the step of the newest checkpoint; the last one known where storage is away."""
        try:
            with uris.retry_for(_RETRY_SECONDS):
                return max(committed_steps(self.paths.checkpoints), default=0)
        except StorageError:
            return self.failed_at

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.should_stop():
            time.sleep(_POLL_SECONDS)
