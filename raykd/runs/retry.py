"""What to do after an attempt at a run ended before the last step: a table, and pure.

Failures and preemptions have budgets of their own, counted from the start of the driver on. Steps
that were gained between two failures forgive neither: they shorten the pause alone. Stopping
to start another number of workers counts nowhere.
"""

from dataclasses import dataclass, replace
from enum import Enum

from raykd.errors import RaykdError


class FailureKind(Enum):
    """Why an attempt ended; the value says it."""

    WORKER_DIED = "a worker died"
    NODE_LOST = "a node was lost"
    OUT_OF_MEMORY = "memory ran out"
    HUNG = "a worker hung"
    CONTROLLER_DIED = "Ray Train's controller died"
    STORAGE_AWAY = "storage is away"
    DISK_FULL = "a disk is full"
    FAILED = "a worker failed"
    """With an error that another attempt may not meet."""

    PREEMPTED = "a machine is being taken away"
    RESIZED = "there is room for more workers"
    STOPPED = "the user stopped it"

    NO_PLACE = "there is no place for the workers"
    STORAGE_REFUSED = "storage refuses"
    WRONG_INPUT = "the input is wrong"
    DIVERGED = "training diverged"
    PROGRAM_ERROR = "an error of the program"


class Action(Enum):
    """What the driver does."""

    RETRY = "retry"
    """Start workers again; they continue from the newest checkpoint."""

    CONTINUE = "continue"
    """The same, elsewhere or with more of them; it is no failure."""

    GIVE_UP = "give up"
    """Another attempt would end alike, or there have been enough."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """How many attempts may fail, and how many may be preempted."""

    max_failures: int
    max_preemptions: int | None
    """None: without end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Counters:
    """What has been used of the budget."""

    failures: int = 0
    preemptions: int = 0
    failures_in_a_row: int = 0
    """Without a newer checkpoint between them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What to do next, after which pause, and what has been used then."""

    action: Action
    pause_seconds: float
    counters: Counters


LONGEST_PAUSE_SECONDS = 60.0
_FIRST_PAUSE_SECONDS = {FailureKind.STORAGE_AWAY: 10.0, FailureKind.DISK_FULL: 10.0}
"""Pause after the first failure in a row; others are retried at once, later ones after 2 s."""

_FINAL = {
    FailureKind.STOPPED,
    FailureKind.NO_PLACE,
    FailureKind.STORAGE_REFUSED,
    FailureKind.WRONG_INPUT,
    FailureKind.DIVERGED,
    FailureKind.PROGRAM_ERROR,
}
_HOPELESS = (
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    NotImplementedError,
    TypeError,
    ValueError,
)
"""Errors of a program, not of its circumstances: the next attempt would meet them again."""


def decide_retry(
    kind: FailureKind, counters: Counters, budget: Budget, *, gained: bool = False
) -> Decision:
    """Decide after an attempt.

    Args:
        kind: How it ended.
        counters: What was used of the budget before it.
        budget: What the run may use.
        gained: Whether there is a newer checkpoint than after the failure before.
    """
    if kind in _FINAL:
        return Decision(action=Action.GIVE_UP, pause_seconds=0.0, counters=counters)
    if kind is FailureKind.RESIZED:
        return Decision(action=Action.CONTINUE, pause_seconds=0.0, counters=counters)
    if kind is FailureKind.PREEMPTED:
        return _after_preemption(counters, budget)
    # The budget is not refilled by progress: a run that fails at each checkpoint has to end.
    in_a_row = 1 if gained else counters.failures_in_a_row + 1
    counters = replace(counters, failures=counters.failures + 1, failures_in_a_row=in_a_row)
    if counters.failures > budget.max_failures:
        return Decision(action=Action.GIVE_UP, pause_seconds=0.0, counters=counters)
    pause = _pause_seconds(kind, in_a_row)
    return Decision(action=Action.RETRY, pause_seconds=pause, counters=counters)


def is_deterministic(error: BaseException) -> bool:
    """Tell whether an error would come again, such as a NaN or a wrong configuration."""
    if isinstance(error, RaykdError):
        return not error.retryable
    return isinstance(error, _HOPELESS)


def _after_preemption(counters: Counters, budget: Budget) -> Decision:
    counters = replace(counters, preemptions=counters.preemptions + 1)
    limit = budget.max_preemptions
    is_spent = limit is not None and counters.preemptions > limit
    action = Action.GIVE_UP if is_spent else Action.CONTINUE
    return Decision(action=action, pause_seconds=0.0, counters=counters)


def _pause_seconds(kind: FailureKind, in_a_row: int) -> float:
    first = _FIRST_PAUSE_SECONDS.get(kind, 0.0)
    if in_a_row == 1:
        return first
    # The exponent is bounded before the product: max_failures may be any number.
    doubled: float = max(first, 1.0) * 2.0 ** min(in_a_row - 1, 10)
    return min(doubled, LONGEST_PAUSE_SECONDS)
