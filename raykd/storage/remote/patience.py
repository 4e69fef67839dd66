"""How long a store may be away before a request fails."""

import contextlib
import contextvars
from collections.abc import Iterator

RETRY_SECONDS = 300.0
"""In the middle of a run: training goes on, or waits, while the store comes back."""

COMMAND_SECONDS = 20.0
"""Before anything is started, when somebody waits for an answer."""

_patience = contextvars.ContextVar("raykd_patience", default=RETRY_SECONDS)


@contextlib.contextmanager
def retry_for(seconds: float) -> Iterator[None]:
    """Try requests of this block for so long; threads it starts have the usual patience."""
    token = _patience.set(seconds)
    try:
        yield
    finally:
        _patience.reset(token)


def retry_seconds() -> float:
    """Return the patience of the present block."""
    return _patience.get()
