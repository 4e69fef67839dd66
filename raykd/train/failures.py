"""Whether a failed attempt is tried again: a pure function of the error and the attempts."""

from enum import Enum

from raykd.errors import RaykdError


class Decision(Enum):
    """What to do after an attempt failed."""

    RETRY = "retry"
    """Start the workers again; they continue from the newest checkpoint."""

    RAISE = "raise"
    """Give up: another attempt would fail alike, or there have been enough."""


def decide(errors: list[BaseException], *, failures: int, max_failures: int) -> Decision:
    """Decide after an attempt.

    Args:
        errors: What the workers raised; empty where they died without a word.
        failures: Failed attempts so far, this one included.
        max_failures: Failures that are retried.
    """
    if deterministic_error(errors) is not None or failures > max_failures:
        return Decision.RAISE
    return Decision.RETRY


def deterministic_error(errors: list[BaseException]) -> RaykdError | None:
    """Return the first error that would come again, such as a NaN or a wrong configuration."""
    mine = (error for error in errors if isinstance(error, RaykdError))
    return next((error for error in mine if not error.retryable), None)
