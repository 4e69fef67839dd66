"""Which failures are worth another attempt, and at whose cost: a table."""

import pytest
from raykd.errors import ConfigError, NonFiniteLossError, StorageError
from raykd.runs.retry import (
    LONGEST_PAUSE_SECONDS,
    Action,
    Budget,
    Counters,
    FailureKind,
    decide_retry,
    is_deterministic,
)

THREE = Budget(max_failures=3, max_preemptions=None)
NONE = Budget(max_failures=0, max_preemptions=0)
RETRIED = (
    FailureKind.WORKER_DIED,
    FailureKind.NODE_LOST,
    FailureKind.OUT_OF_MEMORY,
    FailureKind.HUNG,
    FailureKind.CONTROLLER_DIED,
    FailureKind.STORAGE_AWAY,
    FailureKind.DISK_FULL,
    FailureKind.FAILED,
)
FINAL = (
    FailureKind.STOPPED,
    FailureKind.NO_PLACE,
    FailureKind.STORAGE_REFUSED,
    FailureKind.WRONG_INPUT,
    FailureKind.DIVERGED,
    FailureKind.PROGRAM_ERROR,
)


def used(failures: int = 0, preemptions: int = 0, in_a_row: int | None = None) -> Counters:
    return Counters(
        failures=failures,
        preemptions=preemptions,
        failures_in_a_row=failures if in_a_row is None else in_a_row,
    )


@pytest.mark.parametrize(
    ("kind", "before", "budget", "action", "after"),
    [
        *[(kind, used(), THREE, Action.RETRY, used(1)) for kind in RETRIED],
        *[(kind, used(2), THREE, Action.RETRY, used(3)) for kind in RETRIED],
        *[(kind, used(3), THREE, Action.GIVE_UP, used(4)) for kind in RETRIED],
        *[(kind, used(), NONE, Action.GIVE_UP, used(1)) for kind in RETRIED],
        *[(kind, used(), THREE, Action.GIVE_UP, used()) for kind in FINAL],
        (FailureKind.RESIZED, used(3, 9), NONE, Action.CONTINUE, used(3, 9)),
        (FailureKind.PREEMPTED, used(3, 99), THREE, Action.CONTINUE, used(3, 100)),
        (FailureKind.PREEMPTED, used(), NONE, Action.GIVE_UP, used(0, 1)),
        (
            FailureKind.PREEMPTED,
            used(0, 1),
            Budget(max_failures=0, max_preemptions=2),
            Action.CONTINUE,
            used(0, 2),
        ),
        (
            FailureKind.PREEMPTED,
            used(0, 2),
            Budget(max_failures=9, max_preemptions=2),
            Action.GIVE_UP,
            used(0, 3),
        ),
    ],
)
def test_each_kind_of_end_has_its_decision_and_its_budget(
    kind: FailureKind, before: Counters, budget: Budget, action: Action, after: Counters
) -> None:
    decision = decide_retry(kind, before, budget)
    assert (decision.action, decision.counters) == (action, after)


def test_every_kind_is_in_the_table() -> None:
    assert {*RETRIED, *FINAL, FailureKind.RESIZED, FailureKind.PREEMPTED} == set(FailureKind)


@pytest.mark.parametrize(
    ("kind", "in_a_row", "gained", "pause_seconds"),
    [
        (FailureKind.WORKER_DIED, 0, False, 0.0),
        (FailureKind.WORKER_DIED, 1, False, 2.0),
        (FailureKind.WORKER_DIED, 2, False, 4.0),
        (FailureKind.WORKER_DIED, 5, False, 32.0),
        (FailureKind.WORKER_DIED, 6, False, LONGEST_PAUSE_SECONDS),
        (FailureKind.WORKER_DIED, 10_000, False, LONGEST_PAUSE_SECONDS),
        (FailureKind.WORKER_DIED, 6, True, 0.0),
        (FailureKind.STORAGE_AWAY, 0, False, 10.0),
        (FailureKind.STORAGE_AWAY, 1, False, 20.0),
        (FailureKind.STORAGE_AWAY, 5, False, LONGEST_PAUSE_SECONDS),
        (FailureKind.DISK_FULL, 3, True, 10.0),
        (FailureKind.PREEMPTED, 3, False, 0.0),
        (FailureKind.RESIZED, 3, False, 0.0),
    ],
)
def test_the_pause_grows_with_failures_that_gain_nothing(
    kind: FailureKind, in_a_row: int, gained: bool, pause_seconds: float
) -> None:
    counters = used(in_a_row)
    budget = Budget(max_failures=100_000, max_preemptions=None)
    assert decide_retry(kind, counters, budget, gained=gained).pause_seconds == pause_seconds


def test_steps_in_between_forgive_no_failure() -> None:
    counters = used(2)
    for _ in range(2):
        counters = decide_retry(FailureKind.WORKER_DIED, counters, THREE, gained=True).counters
    assert counters == used(4, in_a_row=1)
    assert (
        decide_retry(FailureKind.WORKER_DIED, used(3), THREE, gained=True).action is Action.GIVE_UP
    )


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (NonFiniteLossError("step 3: the loss is nan"), True),
        (ConfigError("wrong"), True),
        (TypeError("wrong"), True),
        (KeyError("wrong"), True),
        (StorageError("s3://x: 503"), False),
        (RuntimeError("connection reset by peer"), False),
        (OSError("no route to host"), False),
    ],
)
def test_errors_of_the_program_would_come_again(error: BaseException, expected: object) -> None:
    assert is_deterministic(error) is expected
