"""One request to a store: tried again while that may help, named when it fails."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import TypeVar

import tenacity
from fsspec import AbstractFileSystem

from raykd.storage.remote.complaints import ERRORS, complaint, is_missing, is_transient
from raykd.storage.remote.filesystem import filesystem, is_local
from raykd.storage.remote.retry_limit import retry_seconds

T = TypeVar("T")

_TOLD_ATTEMPT = 4
"""Shorter trouble is everyday life of object stores."""

logger = logging.getLogger(__name__)


def reach(uri: str, action: Callable[[AbstractFileSystem, str], T]) -> T:
    """Do something with the fsspec file system of a URI and the path in it.

    Throttling, timeouts and lost connections are tried again, with growing random pauses; denials
    are not.

    Raises:
        FileNotFoundError: Nothing is there.
        StorageDeniedError: The store refuses, and will go on to.
        StorageError: The store cannot be reached or fails, and the time to try again is spent.
    """
    with named(uri):
        opened, path = filesystem(uri)
        # A disk that fails does not recover in minutes: its errors are told at once.
        if is_local(uri):
            return action(opened, path)
        return _persistent(uri)(action, opened, path)


@contextlib.contextmanager
def named(uri: str) -> Iterator[None]:
    """Name the URI in whatever storage complains about; a missing file stays just that."""
    try:
        yield
    except ERRORS as error:
        if is_missing(error):
            message = f"{uri}: nothing is there"
            raise FileNotFoundError(message) from error
        raise complaint(uri, error) from error


def _persistent(uri: str) -> tenacity.Retrying:
    def tell(state: tenacity.RetryCallState) -> None:
        if state.attempt_number == _TOLD_ATTEMPT and state.outcome is not None:
            error = state.outcome.exception()
            assert isinstance(error, Exception)  # noqa: S101  else it would not be tried again
            logger.warning("%s; trying again", complaint(uri, error))

    # Full jitter: the workers of a run meet the same outage, and must not come back together.
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(is_transient),
        wait=tenacity.wait_random_exponential(multiplier=0.25, max=10),
        # Before the delay, not after: nobody waits for longer than was allowed.
        stop=tenacity.stop_before_delay(retry_seconds()),
        before_sleep=tell,
        reraise=True,
    )
