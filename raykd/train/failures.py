"""Whether a failed attempt is tried again: a pure function of the error and the attempts."""

from enum import Enum

from raykd.errors import RaykdError


class Decision(Enum):
    """What to do after an attempt failed."""

    RETRY = "retry"
    """Start the workers again; they continue from the newest checkpoint."""

    RAISE = "raise"
    """Give up: another attempt would fail alike, or there have been enough."""


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


def decide(errors: list[BaseException], *, failures: int, max_failures: int) -> Decision:
    """Decide after an attempt.

    Args:
        errors: What the workers raised; empty where they died without a word.
        failures: Failed attempts so far, this one included.
        max_failures: Failures that are retried.
    """
    if any(is_deterministic(error) for error in errors) or failures > max_failures:
        return Decision.RAISE
    return Decision.RETRY


def is_deterministic(error: BaseException) -> bool:
    """Tell whether an error would come again, such as a NaN or a wrong configuration."""
    if isinstance(error, RaykdError):
        return not error.retryable
    return isinstance(error, _HOPELESS)
