"""What a process of runs does: train them by turns, tell each evaluation, keep a log of each."""

import logging
import os
import pickle
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path

from raykd.cached_teachers.build import ensure_caches
from raykd.cached_teachers.writer import CacheWatch
from raykd.distill.models import live_teachers
from raykd.distill.shared import SharedTeachers
from raykd.distill.world import World
from raykd.errors import StoppedError, StorageError, TrainingFailedError
from raykd.machine.process import prepare_process
from raykd.runs.metrics import Record
from raykd.runs.result import read_result
from raykd.runs.stop import StopReason
from raykd.storage import uris
from raykd.train.run import claimed_run, device_of
from raykd.train.turns import Turns, by_turns
from raykd.train.worker import Context, training_turns
from raykd.tune.member import Member

logger = logging.getLogger(__name__)


def train_and_tell(members: Sequence[Member], connection: Connection) -> None:
    """Train runs; send each evaluation and wait for an answer; of each run send how it ended.

    That is the error, or the reason to stop where it was asked to, or that there is none.
    """
    _log_to_stderr()
    # Claimed in one order, whatever that of a sweep: two sweeps never wait for each other's runs.
    members = sorted(members, key=lambda member: member.run)
    process = _Process(members, connection)
    turns = {member.run: _turns(member, process) for member in members}
    for run, end in by_turns(turns):
        connection.send((run, end))


class _Process:
    """What the runs of this process have in common."""

    def __init__(self, members: Sequence[Member], connection: Connection) -> None:
        self.runs = [member.run for member in members]
        self.load = SharedTeachers().load if len(members) > 1 else live_teachers
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


def _turns(member: Member, process: _Process) -> Turns[StopReason | Exception]:
    """Train a run; what is printed in its turns is in its log."""
    if process.should_stop(member.run):
        # Those before it have waited long to be claimed; this one leaves nothing behind.
        return StopReason.STOPPED
    with _opened_log(member.log_uri) as take:
        turns = _train(member, process)
        while True:
            take()
            try:
                next(turns)
            except StopIteration as end:
                reason: StopReason = end.value
                return reason
            except StoppedError:
                return StopReason.STOPPED
            except Exception as error:
                logger.exception("the run failed")
                return _portable(error)
            yield


def _train(member: Member, process: _Process) -> Turns[StopReason]:
    config = member.config
    prepare_process(cores=config.cluster.cpus_per_worker)
    if others := [run for run in process.runs if run != member.run]:
        logger.info("by turns, in one process, with %s", ", ".join(others))
    with claimed_run(
        config,
        has_workers=False,
        waits=True,
        on_wait=logger.warning,
        should_stop=lambda: process.should_stop(member.run),
    ) as claim:
        found = read_result(claim.paths)
        if found is not None and found.is_done:
            return StopReason.NONE
        # All are claimed before one of them trains.
        yield
        world = World(device=device_of(config))

        def should_stop() -> bool:
            return process.should_stop(member.run) or claim.lease.is_lost

        watch = CacheWatch(on_message=logger.info, should_stop=should_stop)
        if not ensure_caches(claim.config, watch=watch):
            return StopReason.STOPPED
        context = Context(
            world=world,
            report=lambda metrics: process.report(member.run, metrics),
            stop_reason=lambda: StopReason.STOPPED if should_stop() else StopReason.NONE,
            load=process.load,
        )
        result = yield from training_turns(claim.config, claim.paths, context)
        return result.stop_reason


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
