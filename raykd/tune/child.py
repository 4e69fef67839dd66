"""A run of a sweep, or several, in a process of its own, which ends with the last.

So nothing is carried from one to the next: no memory of a GPU, no thread, no seed; and a process
that is killed is one failed trial. The process is forked from a server that has imported
everything and done nothing else: it starts at once. The process that asks imports next to
nothing.

The process that asks must be there as long as the runs: where it goes, they end. It hears from Ray
which of them are to stop, and passes that on: theirs is no process of Ray. A run stops at once
where it has not begun, else after its step, with a checkpoint.
"""

import logging
import math
import multiprocessing
import multiprocessing.util
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from raykd.machine.allocator import ONE_HEAP
from raykd.machine.sockets import place_for_sockets
from raykd.runs.stop import StopReason
from raykd.tune.arguments import SharedRun

Metrics = dict[str, float]

GRACE_SECONDS = 300.0
"""For the step, the evaluation and the checkpoint of a run that is asked to stop."""

_KILLED = ": killed; where memory was short, a smaller train.micro_batch_size needs less"

_POLL_SECONDS = 0.5
"""Between two looks whether a run is to stop, while it says nothing."""

_PRELOADED = ["ray", "raykd.tune.training"]
"""Imported once by the server: Ray because it is in the main module of the process that asks."""

_SOCKET_BYTES = len("/pymp-12345678/listener-12345678")
"""Length of the path of the server's socket, below the directory for temporary files."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Watch:
    """Who asked for runs, and looks on."""

    report: Callable[[str, Metrics], None]
    """Told of each evaluation of each run; its process goes on when this returns."""

    ended: Callable[[str, StopReason | Exception], None]
    """Told once of each run: why it stopped before its end, if it did, or what it raised; a
    ChildProcessError where its process died."""

    stop_reason: Callable[[str], StopReason]
    """Looked at all the time: whether a run is to stop. Its first reason stands."""


def train_in_child(
    shared_runs: Sequence[SharedRun], watch: Watch, *, grace_seconds: float = GRACE_SECONDS
) -> None:
    """Train runs in a process of their own, until each has ended.

    Args:
        shared_runs: Those who can share a teacher, or a single one.
        watch: Told of what they do.
        grace_seconds: Given to the process when all are asked to stop, before it is killed.
    """
    reasons = {shared_run.run: watch.stop_reason(shared_run.run) for shared_run in shared_runs}
    for run, reason in reasons.items():
        if reason is not StopReason.NONE:
            watch.ended(run, reason)
    begun = [
        shared_run for shared_run in shared_runs if reasons[shared_run.run] is StopReason.NONE
    ]
    if not begun:
        return
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    # Each run has a thread: with heaps of their own, none could use what another one has freed.
    os.environ.update(ONE_HEAP)  # noqa: TID251  of the server, which takes this process's
    _leave_room_for_sockets()
    ours, theirs = context.Pipe()
    process = context.Process(target=_train, args=(begun, theirs), daemon=True)
    process.start()
    theirs.close()
    child = _Child(
        process=process,
        connection=ours,
        watch=watch,
        grace_seconds=grace_seconds,
        running=[shared_run.run for shared_run in begun],
    )
    try:
        while child.running:
            child.attend()
    finally:
        # Also where the report ends this thread: Tune has stopped the trial.
        process.kill()
        process.join()
        ours.close()


def _leave_room_for_sockets() -> None:
    """Have the fork server's socket lie where its path is not too long."""
    kept = tempfile.gettempdir()
    tempfile.tempdir = place_for_sockets(kept, room=_SOCKET_BYTES)
    try:
        # Makes it once in a process, at whose end it is removed.
        multiprocessing.util.get_temp_dir()
    finally:
        tempfile.tempdir = kept


@dataclass(kw_only=True, slots=True)
class _Child:
    """A process of runs, seen from the one that asked for it."""

    process: BaseProcess
    connection: Connection
    watch: Watch
    grace_seconds: float
    running: list[str]
    """Runs that have not ended."""

    reasons: dict[str, StopReason] = field(default_factory=dict)
    """Why each of the runs that were asked to stop was."""

    deadline: float = math.inf
    """For all of them to have stopped, by the monotonic clock."""

    def attend(self) -> None:
        """Wait for the next thing to happen in it, and tell of it."""
        while not self.connection.poll(_POLL_SECONDS):
            self._pass_on_requests()
            if time.monotonic() > self.deadline:
                logger.warning("still there after %g s: %s", self.grace_seconds, self.running)
                self._end_all(StopReason.STOPPED)
                return
        message: Metrics | StopReason | Exception
        try:
            run, message = self.connection.recv()
        except (EOFError, ConnectionError) as error:
            self._end_all(self._death(error))
            return
        if isinstance(message, dict):
            self.watch.report(run, message)
            self._answer()
        else:
            self._end(run, message)

    def _answer(self) -> None:
        """Let it go on after an evaluation, asked to stop where that has just been decided."""
        self._pass_on_requests()
        self._send(None)

    def _pass_on_requests(self) -> None:
        others = [run for run in self.running if run not in self.reasons]
        reasons = {run: self.watch.stop_reason(run) for run in others}
        new = {run: reason for run, reason in reasons.items() if reason is not StopReason.NONE}
        if not new:
            return
        self.reasons |= new
        self._send(frozenset(new))
        if len(new) == len(others):
            self.deadline = time.monotonic() + self.grace_seconds

    def _send(self, message: frozenset[str] | None) -> None:
        # Where the child is gone, the next look for a message says so.
        with suppress(ConnectionError):
            self.connection.send(message)

    def _end(self, run: str, end: StopReason | Exception) -> None:
        """Tell how a run ended; one that has stopped unasked has lost its lease, and goes on."""
        self.running.remove(run)
        if end is StopReason.STOPPED:
            end = self.reasons.get(run, StopReason.PREEMPTED)
        self.watch.ended(run, end)

    def _end_all(self, end: StopReason | Exception) -> None:
        for run in list(self.running):
            self._end(run, end)

    def _death(self, error: Exception) -> Exception:
        """Return what to say of a process that died."""
        self.process.join()
        code = self.process.exitcode
        hint = _KILLED if code == -signal.SIGKILL else ""
        death = ChildProcessError(f"the process of the run ended with exit code {code}{hint}")
        death.__cause__ = error
        return death


def _train(shared_runs: Sequence[SharedRun], connection: Connection) -> None:
    """Train runs in the child."""
    threading.Thread(target=_end_with_parent, name="raykd-parent", daemon=True).start()
    # Imported here: the process that asks does without it.
    from raykd.tune.training import train_and_tell  # noqa: PLC0415

    train_and_tell(shared_runs, connection)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
