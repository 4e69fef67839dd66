"""What the process of a run does: train, tell each evaluation, keep a log."""

import logging
import os
import pickle
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path

from raykd import storage
from raykd.config.schema.run import RunConfig
from raykd.distill.world import World
from raykd.errors import StorageError, TrainingFailedError
from raykd.train.cache_writer import CacheWatch
from raykd.train.caches import ensure_caches
from raykd.train.leave import Leave
from raykd.train.machine.process import prepare_process
from raykd.train.metrics import Record
from raykd.train.paths import located
from raykd.train.run import claimed_run, device_of
from raykd.train.worker import Context, read_result, train_worker

logger = logging.getLogger(__name__)


def train_and_tell(config: RunConfig, log_uri: str, connection: Connection) -> None:
    """Train a run; send each evaluation and wait for an answer; at the end send how it ended.

    That is the error, or the reason to leave where SIGTERM asked it to, or that there is none.
    """

    def report(metrics: Record) -> None:
        connection.send(dict(metrics))
        connection.recv()

    with _printed_to(log_uri):
        try:
            leave = _train(config, report)
        except Exception as error:
            logger.exception("the run failed")
            connection.send(_portable(error))
        else:
            connection.send(leave)


def _train(config: RunConfig, report: Callable[[Record], None]) -> Leave:
    prepare_process(cores=config.cluster.cpus_per_worker)
    with claimed_run(config, has_workers=False, waits=True, on_wait=logger.warning) as claim:
        found = read_result(claim.paths)
        if found is not None and found.is_done:
            return Leave.NO
        with _asked_by_signal() as asked:
            world = World(device=device_of(config))

            def should_stop() -> bool:
                return asked.is_set() or claim.lease.is_lost

            watch = CacheWatch(on_message=logger.info, should_stop=should_stop)
            if not ensure_caches(located(config), watch=watch):
                return Leave.STOPPED
            context = Context(
                world=world,
                report=report,
                leave=lambda: Leave.STOPPED if should_stop() else Leave.NO,
            )
            return train_worker(located(config), claim.paths, context).leave


@contextmanager
def _asked_by_signal() -> Iterator[threading.Event]:
    """Yield an event that SIGTERM sets while the block runs; outside, it ends the process."""
    asked = threading.Event()
    usual = signal.signal(signal.SIGTERM, lambda _number, _frame: asked.set())
    try:
        yield asked
    finally:
        signal.signal(signal.SIGTERM, usual)


@contextmanager
def _printed_to(uri: str) -> Iterator[None]:
    """Add to the file at a URI what this process prints and logs, libraries in C too."""
    is_local = storage.is_local(uri)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(uri) if is_local else Path(directory, "log.txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        if not is_local:
            with suppress(FileNotFoundError):
                path.write_bytes(storage.read_bytes(uri))
        with path.open("ab", buffering=0) as stream:
            os.dup2(stream.fileno(), 1)
            os.dup2(stream.fileno(), 2)
        line = "%(asctime)s %(levelname)s %(name)s: %(message)s"
        logging.basicConfig(level=logging.WARNING, format=line, force=True)
        logging.getLogger("raykd").setLevel(logging.INFO)
        try:
            yield
        finally:
            if not is_local:
                _upload(path, uri)


def _upload(path: Path, uri: str) -> None:
    try:
        storage.write_bytes(uri, path.read_bytes())
    except StorageError as error:
        logger.warning("the log of the run is lost: %s", error)


def _portable(error: Exception) -> Exception:
    """Return an error as it is, or its text where it does not survive the way to the parent."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  what was dumped in this line
    except (TypeError, AttributeError, pickle.PicklingError):
        return TrainingFailedError(f"{type(error).__name__}: {error}")
    return error
