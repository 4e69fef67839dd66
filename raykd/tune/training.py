"""What a process of runs does: train them by turns, tell each evaluation, keep a log of each."""

import logging
import os
import pickle
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from raykd.distill.shared import SharedTeachers
from raykd.distill.world import World
from raykd.errors import StoppedError, StorageError, TrainingFailedError
from raykd.machine.process import prepare_process
from raykd.runs.metrics import Record
from raykd.runs.stop import StopReason
from raykd.storage import uris
from raykd.train.run import device_of, leased_run
from raykd.train.turns import Pause, round_robin
from raykd.train.worker import Context, train_worker
from raykd.tune.arguments import SharedRun

logger = logging.getLogger(__name__)


def train_and_tell(shared_runs: Sequence[SharedRun], connection: Connection) -> None:
    """Train runs; send each evaluation and wait for an answer; of each run send how it ended.

    That is the error, or the reason to stop where it was asked to, or that there is none.
    """
    _log_to_stderr()
    # Claimed in one order, whatever that of a sweep: two sweeps never wait for each other's runs.
    shared_runs = sorted(shared_runs, key=lambda shared_run: shared_run.run)
    process = _Process(shared_runs, connection)
    runs = {
        shared_run.run: partial(_train_and_log, shared_run, process) for shared_run in shared_runs
    }
    for run, end in round_robin(runs):
        connection.send((run, end))


class _Process:
    """What the runs of this process have in common."""

    def __init__(self, shared_runs: Sequence[SharedRun], connection: Connection) -> None:
        self.runs = [shared_run.run for shared_run in shared_runs]
        self.shared = SharedTeachers() if len(shared_runs) > 1 else None
        self._connection = connection
        self._stopping: set[str] = set()

    def report(self, run: str, metrics: Record) -> None:
        """Tell of an evaluation, and wait until it is known what follows from it."""
        self._connection.send((run, dict(metrics)))
        while not self._hears_answer():
            pass

    def should_stop(self, run: str) -> bool:
        """Tell whether a run has been asked to stop."""
        while self._connection.poll():
            self._hears_answer()
        return run in self._stopping

    def _hears_answer(self) -> bool:
        """Take the next message: runs that are to stop, or None, which answers an evaluation."""
        message: frozenset[str] | None = self._connection.recv()
        self._stopping |= message or set()
        return message is None


def _train_and_log(
    shared_run: SharedRun, process: _Process, give_turn: Pause
) -> StopReason | Exception:
    """Train a run; what is printed in its turns is in its log."""
    if process.should_stop(shared_run.run):
        # Those before it have waited long to be claimed; this one leaves nothing behind.
        return StopReason.STOPPED
    with _opened_log(shared_run.log_uri) as take:

        def pause() -> None:
            give_turn()
            take()

        take()
        try:
            return _train(shared_run, process, pause)
        except StoppedError:
            return StopReason.STOPPED
        except Exception as error:
            logger.exception("the run failed")
            return _portable(error)


def _train(shared_run: SharedRun, process: _Process, pause: Pause) -> StopReason:
    config = shared_run.config
    prepare_process(cores=config.cluster.cpus_per_worker)
    if others := [run for run in process.runs if run != shared_run.run]:
        logger.info("by turns, in one process, with %s", ", ".join(others))
    with leased_run(
        config,
        has_workers=False,
        waits=True,
        on_message=logger.info,
        should_stop=lambda: process.should_stop(shared_run.run),
    ) as run:
        if run.result is not None:
            return StopReason.NONE
        # All are claimed before one of them trains.
        pause()
        world = World(device=device_of(config))
        if not run.ensure_caches():
            return StopReason.STOPPED
        context = Context(
            world=world,
            report=lambda metrics: process.report(shared_run.run, metrics),
            stop_reason=lambda: StopReason.STOPPED if run.should_stop() else StopReason.NONE,
            shared=process.shared,
            pause=pause,
        )
        return train_worker(run.config, run.paths, context).stop_reason


def _log_to_stderr() -> None:
    line = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=logging.WARNING, format=line, force=True)
    logging.getLogger("raykd").setLevel(logging.INFO)


@contextmanager
def _opened_log(uri: str) -> Iterator[Callable[[], None]]:
    """Yield what has the file at a URI get all that this process prints, libraries in C too."""
    is_local = uris.is_local(uri)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(uri) if is_local else Path(directory, "log.txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        if not is_local:
            with suppress(FileNotFoundError):
                path.write_bytes(uris.read_bytes(uri))
        with path.open("ab", buffering=0) as stream:

            def take() -> None:
                # What is not written yet belongs to the run before.
                sys.stdout.flush()
                sys.stderr.flush()
                os.dup2(stream.fileno(), 1)
                os.dup2(stream.fileno(), 2)

            try:
                yield take
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                if not is_local:
                    _upload(path, uri)


def _upload(path: Path, uri: str) -> None:
    try:
        uris.write_bytes(uri, path.read_bytes())
    except StorageError as error:
        logger.warning("the log of the run is lost: %s", error)


def _portable(error: Exception) -> Exception:
    """Return an error as it is, or its text where it does not survive the way to the parent."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  what was dumped in this line
    except (TypeError, AttributeError, pickle.PicklingError):
        return TrainingFailedError(f"{type(error).__name__}: {error}")
    return error
