"""For how long requests to a store are tried again; light, as the command line asks it."""

import contextlib
import contextvars
from collections.abc import Iterator

RETRY_SECONDS = 300.0
"""In the middle of a run: training goes on, or waits, while the store comes back."""

COMMAND_SECONDS = 20.0
"""Before anything is started, when somebody waits for an answer."""

# Of the context, not of the process: runs that share a process each have their own.
_seconds = contextvars.ContextVar("raykd_retry_seconds", default=RETRY_SECONDS)


@contextlib.contextmanager
def retry_for(seconds: float) -> Iterator[None]:
    """Try requests of this block again for so long; threads it starts have the usual limit."""
    token = _seconds.set(seconds)
    try:
        yield
    finally:
        _seconds.reset(token)


def retry_seconds() -> float:
    """Return for how long requests of the present block are tried again."""
    return _seconds.get()
