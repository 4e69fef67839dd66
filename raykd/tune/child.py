"""A run of a sweep in a process of its own, which ends with the run.

So nothing is carried from one run to the next: no memory of a GPU, no thread, no seed; and a run
that is killed, or kills its process, is one failed trial. The process is forked from a server that
has imported everything and done nothing else: it starts at once. The process that asks imports
next to nothing.

The process that asks must be there as long as the run: where it goes, the run ends.

SIGTERM asks the run to leave: at once where it has not begun, else after its step, with a
checkpoint.
"""

import logging
import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from raykd.config.schema.run import RunConfig
from raykd.train.leave import Leave

Metrics = dict[str, float]

GRACE_SECONDS = 300.0
"""For the step, the evaluation and the checkpoint of a run that is asked to leave."""

_KILLED = ": killed; where memory was short, a smaller train.micro_batch_size needs less"

_POLL_SECONDS = 0.5
"""Between two looks whether a run is to leave, while it says nothing."""

_PRELOADED = ["ray", "raykd.tune.training"]
"""Imported once by the server: Ray because it is in the main module of the process that asks."""


logger = logging.getLogger(__name__)


def train_in_child(
    config: RunConfig,
    *,
    log_uri: str,
    report: Callable[[Metrics], None],
    asked: Callable[[], Leave],
    grace_seconds: float = GRACE_SECONDS,
) -> Leave:
    """Train a run in a process of its own; return why it left before its end, if it did.

    Args:
        config: A run of one worker.
        log_uri: File that gets what the run prints and logs.
        report: Told of each evaluation; the run goes on when it returns.
        asked: Looked at all the time: whether the run is to leave. A wish stands.
        grace_seconds: Given to a run that is asked to leave, before it is killed.

    Raises:
        Exception: What the run raised.
        ChildProcessError: Its process died.
    """
    if (wish := asked()) is not Leave.NO:
        return wish
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    ours, theirs = context.Pipe()
    process = context.Process(target=_train, args=(config, log_uri, theirs), daemon=True)
    process.start()
    theirs.close()
    child = _Child(process=process, connection=ours, asked=asked, grace_seconds=grace_seconds)
    try:
        while isinstance(message := child.next_message(), dict):
            report(message)
            child.answer()
        return message
    finally:
        # Also where the report ends this thread: Tune has stopped the trial.
        process.kill()
        process.join()
        ours.close()


@dataclass(kw_only=True, slots=True)
class _Child:
    """The process of a run, seen from the one that asked for it."""

    process: BaseProcess
    connection: Connection
    asked: Callable[[], Leave]
    grace_seconds: float
    wish: Leave = Leave.NO
    """Why it has been asked to leave."""

    asked_at: float = math.inf

    def next_message(self) -> Metrics | Leave:
        """Return its next evaluation, or why it has left; raise what it raised."""
        while not self._has_message():
            self._pass_on_wish()
            if time.monotonic() - self.asked_at > self.grace_seconds:
                logger.warning("the run has not left in %g s and is killed", self.grace_seconds)
                return self.wish
        try:
            message: Metrics | Exception | Leave = self.connection.recv()
        except (EOFError, ConnectionError) as error:
            return self._after_death(error)
        if isinstance(message, Exception):
            raise message
        return message if isinstance(message, dict) or message is Leave.NO else self._reason

    def answer(self) -> None:
        """Let it go on after an evaluation, asked to leave where that has just been decided."""
        self._pass_on_wish()
        # Where the child is gone, the next look for a message says so.
        with suppress(ConnectionError):
            self.connection.send(None)

    @property
    def _reason(self) -> Leave:
        """Why it leaves: SIGTERM from elsewhere is how a machine ends what runs on it."""
        return self.wish or Leave.PREEMPTED

    def _has_message(self) -> bool:
        return self.connection.poll(_POLL_SECONDS)

    def _pass_on_wish(self) -> None:
        if self.wish is Leave.NO and (wish := self.asked()) is not Leave.NO:
            self.wish, self.asked_at = wish, time.monotonic()
            self.process.terminate()

    def _after_death(self, error: Exception) -> Leave:
        """Return why it left where it had not begun, and so died of being asked."""
        self.process.join()
        if self.process.exitcode == -signal.SIGTERM:
            return self._reason
        code = self.process.exitcode
        hint = _KILLED if code == -signal.SIGKILL else ""
        text = f"the process of the run ended with exit code {code}{hint}"
        raise ChildProcessError(text) from error


def _train(config: RunConfig, log_uri: str, connection: Connection) -> None:
    """Train a run in the child."""
    threading.Thread(target=_end_with_parent, name="raykd-parent", daemon=True).start()
    # Imported here: the process that asks does without it.
    from raykd.tune.training import train_and_tell  # noqa: PLC0415

    train_and_tell(config, log_uri, connection)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
