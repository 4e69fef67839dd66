"""The driver asks the workers of an attempt to leave, through a file in the run's directory.

It names the attempt: what was asked of another one is no request. The first worker looks for it
in a thread of its own, so that steps do not wait for storage; all leave after the same step.
"""

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from raykd.errors import RaykdError
from raykd.runs.paths import RunPaths
from raykd.runs.stop import Leave
from raykd.storage import uris

_POLL_SECONDS = 0.5
_REMOTE_POLL_SECONDS = 5.0
_RETRY_SECONDS = 10.0
"""Of one request: who asks and who is asked will try again."""

logger = logging.getLogger(__name__)


class LeaveWatch:
    """What the driver has asked of an attempt so far."""

    def __init__(self, paths: RunPaths, *, attempt: str) -> None:
        self._uri = paths.leave
        self._attempt = attempt
        self.asked = Leave.NO

    def look(self) -> None:
        """Look once; where storage does not answer, nothing is asked."""
        try:
            with uris.retry_for(_RETRY_SECONDS):
                text = uris.read_bytes(self._uri)
            request = json.loads(text)
            if request["attempt"] == self._attempt:
                self.asked = Leave[request["reason"]]
        except FileNotFoundError:
            return
        except (RaykdError, ValueError, KeyError, TypeError) as error:
            logger.warning("%s: could not be read: %s", self._uri, error)


def ask_to_leave(paths: RunPaths, *, attempt: str, reason: Leave) -> None:
    """Ask the workers of an attempt to leave with a checkpoint.

    Raises:
        StorageError: It could not be written soon.
    """
    request = {"attempt": attempt, "reason": reason.name}
    with uris.retry_for(_RETRY_SECONDS):
        uris.write_bytes(paths.leave, json.dumps(request).encode())


def forget_request(paths: RunPaths) -> None:
    """Remove what was asked of an attempt that has ended."""
    uris.delete(paths.leave)


@contextmanager
def watched_request(paths: RunPaths, *, attempt: str) -> Iterator[LeaveWatch]:
    """Look for a request again and again while the block runs."""
    watch = LeaveWatch(paths, attempt=attempt)
    ended = threading.Event()
    seconds = _POLL_SECONDS if uris.is_local(paths.run) else _REMOTE_POLL_SECONDS

    def follow() -> None:
        watch.look()
        while watch.asked is Leave.NO and not ended.wait(seconds):
            watch.look()

    thread = threading.Thread(target=follow, name="raykd-leave", daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        ended.set()
        thread.join()
