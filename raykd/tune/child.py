"""A run of a sweep in a process of its own, which ends with the run.

So nothing is carried from one run to the next: no memory of a GPU, no thread, no seed; and a run
that is killed, or kills its process, is one failed trial. The process is forked from a server that
has imported everything and done nothing else: it starts at once. The process that asks imports
next to nothing.

The process that asks must be there as long as the run: where it goes, the run ends.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from raykd.config.schema.run import RunConfig

Metrics = dict[str, float]

_PRELOADED = ["ray", "raykd.tune.training"]
"""Imported once by the server: Ray because it is in the main module of the process that asks."""


def train_in_child(config: RunConfig, *, log_uri: str, report: Callable[[Metrics], None]) -> None:
    """Train a run to its end in a process of its own.

    Args:
        config: A run of one worker.
        log_uri: File that gets what the run prints and logs.
        report: Told of each evaluation; the run goes on when it returns.

    Raises:
        Exception: What the run raised.
        ChildProcessError: Its process died.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    ours, theirs = context.Pipe()
    child = context.Process(target=_train, args=(config, log_uri, theirs), daemon=True)
    child.start()
    theirs.close()
    try:
        while (metrics := _received(ours, child)) is not None:
            report(metrics)
            # Where the child is gone, the next look for a message says so.
            with suppress(ConnectionError):
                ours.send(None)
    finally:
        # Also where the report ends this thread: the scheduler has stopped the trial.
        child.kill()
        child.join()
        ours.close()


def _received(connection: Connection, child: BaseProcess) -> Metrics | None:
    """Return the next evaluation of a run, None at its end; raise what it raised."""
    try:
        message: Metrics | Exception | None = connection.recv()
    except (EOFError, ConnectionError) as error:
        child.join()
        text = f"the process of the run ended with exit code {child.exitcode}"
        raise ChildProcessError(text) from error
    if isinstance(message, Exception):
        raise message
    return message


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
