"""Attempts at a run of a sweep: how they begin and end, and whether another one follows.

That is decided by the table of raykd.train. What circumstances did, such as a lost node, counts
against ``cluster.max_failures`` and ``cluster.max_preemptions`` of the run, as if it had been
started alone. An error that has no known cause counts against ``max_failures`` of the sweep.
"""

import time
from dataclasses import replace

from raykd.config.schema.sweep import SweepConfig
from raykd.runs.checkpoint import committed_steps
from raykd.runs.paths import RunPaths
from raykd.runs.retry import Budget, Counters, Decision, FailureKind, decide_retry
from raykd.sweep.record import Attempt, Record, State, has_failed


def begun(record: Record, *, num_sharing: int) -> Record:
    """Return a run that is being trained, from its newest checkpoint on.

    Args:
        record: The run.
        num_sharing: Runs that were handed out to its process.
    """
    attempt = Attempt(
        started_at=time.time(),
        first_step=_newest_step(record),
        world_size=max(record.config["cluster"]["num_workers"], 1),
        num_sharing=num_sharing,
    )
    return replace(record, state=State.RUNNING, attempts=(*record.attempts, attempt))


def closed(record: Record) -> Record:
    """Return a run whose last attempt is over."""
    *earlier, last = record.attempts
    return replace(record, attempts=(*earlier, replace(last, ended_at=time.time())))


def explained(
    record: Record, kind: FailureKind, *, error_class: str | None = None, error: str | None = None
) -> Record:
    """Note why the last attempt at a run ended before its last step."""
    *earlier, last = record.attempts
    last = replace(last, kind=kind.name.lower(), error_class=error_class, error=error)
    return replace(record, attempts=(*earlier, last))


def after_stop(record: Record, state: State) -> State:
    """Return the state of a run, where the scheduler's decision outranks its end."""
    return State.STOPPED if record.stop is not None and state is not State.RUNNING else state


def decide_next(record: Record, kind: FailureKind, sweep: SweepConfig) -> Decision:
    """Decide after the last attempt of a run, which is not explained yet."""
    counters = Counters(
        failures=record.failures,
        preemptions=record.preemptions,
        failures_in_a_row=_failures_in_a_row(record),
    )
    # Progress since the last failure makes the next one the first in a row: its pause begins small
    # again, but the budget of failures stays spent.
    gained = _newest_step(record) > record.attempts[-1].first_step
    return decide_retry(kind, counters, _budget(record, kind, sweep), gained=gained)


def _newest_step(record: Record) -> int:
    """Return the step of the newest checkpoint of a run, 0 where there is none."""
    return max(committed_steps(RunPaths(record.run_uri).checkpoints), default=0)


def _budget(record: Record, kind: FailureKind, sweep: SweepConfig) -> Budget:
    cluster = record.config["cluster"]
    # An unknown error is most likely the trial's own, such as a bad learning rate; lost machines
    # are not, and a long sweep sees many.
    limit = sweep.max_failures if kind is FailureKind.FAILED else cluster["max_failures"]
    return Budget(max_failures=limit, max_preemptions=cluster["max_preemptions"])


def _failures_in_a_row(record: Record) -> int:
    """Return how many attempts before the last failed without a newer checkpoint between them."""
    *earlier, last = record.attempts
    in_a_row, step = 0, last.first_step
    for attempt in reversed(earlier):
        if not has_failed(attempt) or (in_a_row and attempt.first_step != step):
            break
        in_a_row, step = in_a_row + 1, attempt.first_step
    return in_a_row
