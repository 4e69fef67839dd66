"""A run from the driver's side: find out where it stands, then train it to its end."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from raykd.cached_teachers.build import ensure_caches, told_in_lines
from raykd.cached_teachers.writer import CacheWatch, Workers
from raykd.config.load import as_yaml
from raykd.config.schema.run import RunConfig
from raykd.distill.world import World, local_device
from raykd.errors import ConfigError, StorageError
from raykd.machine.process import machine_warnings, prepare_process
from raykd.machine.repeating import repeating
from raykd.ray_cluster.connect import ray_of_workers
from raykd.runs import append_log
from raykd.runs.checkpoint import KIND as CHECKPOINT
from raykd.runs.checkpoint import checkpoint_name, checkpoint_steps, committed_steps
from raykd.runs.export import KIND as MODEL
from raykd.runs.inputs import check_inputs, pinned, written_inputs
from raykd.runs.metrics import MetricsTail, Record
from raykd.runs.paths import RunPaths, run_paths
from raykd.runs.result import RunResult, read_result
from raykd.runs.stop import StopReason
from raykd.runs.trackers.open import EVENTS
from raykd.storage import uris
from raykd.storage.leases.lease import held_lease
from raykd.storage.published.ownership import remove, remove_scratch, require_own, require_place
from raykd.storage.remote.probe import check_storage
from raykd.train.worker import Context, stopped_result, train_worker

if TYPE_CHECKING:
    from ray.train import UserCallback

_POLL_SECONDS = 0.5
_REMOTE_POLL_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Listener:
    """What the driver tells while a run goes on."""

    on_record: Callable[[Record], None]
    """Each line that the run adds to metrics.jsonl, soon after it does."""

    on_message: Callable[[str], None]
    """One line on anything unusual."""

    should_stop: Callable[[], bool]
    """Asked after every step of a run in this process, and all the time of one with workers."""


def train_run(config: RunConfig, *, fresh: bool, address: str, listener: Listener) -> RunResult:
    """Train a run to its end, continuing from its newest valid checkpoint.

    A run that is done is left alone. The same configuration is the same run.

    Args:
        config: The run; relative paths are relative to the working directory.
        fresh: Remove what an earlier start of this very run left, and start over.
        address: ``local``, or the address of a Ray cluster; unused without workers.
        listener: Told of progress.

    Raises:
        RaykdError: The run cannot start, or failed.
    """
    has_workers = config.cluster.num_workers > 0
    # Asked before anything is written.
    world = None if has_workers else World(device=device_of(config))
    with leased_run(
        config,
        has_workers=has_workers,
        fresh=fresh,
        on_message=listener.on_message,
        should_stop=listener.should_stop,
    ) as run:
        if run.result is not None:
            return run.result
        if world is not None:
            for line in (prepare_process(cores=None), *machine_warnings(config)):
                listener.on_message(line)
            return _train_here(run, world, listener)
        with followed(run.paths, listener), ray_of_workers(address, config.cluster):
            return train_on_workers(run, is_alone=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class LeasedRun:
    """A run that nobody else writes, as long as it is not to stop."""

    config: RunConfig
    """With absolute paths, and with what its inputs hold."""

    paths: RunPaths

    result: RunResult | None
    """How it ended, where an earlier driver brought it to its end."""

    on_message: Callable[[str], None]
    should_stop: Callable[[], bool]
    """True, too, where another driver has taken the lease."""

    def ensure_caches(self, workers: Workers | None = None) -> bool:
        """Build what its caches lack, here or on workers; return False where it is to stop."""
        watch = CacheWatch(
            on_message=self.on_message,
            on_progress=told_in_lines(self.on_message),
            should_stop=self.should_stop,
        )
        return ensure_caches(self.config, watch=watch, workers=workers)

    def stopped(self) -> RunResult:
        """Return how it stands while nobody trains it."""
        step = max(committed_steps(self.paths.checkpoints), default=0)
        return stopped_result(self.config, step=step)


@contextmanager
def leased_run(
    config: RunConfig,
    *,
    has_workers: bool,
    fresh: bool = False,
    waits: bool = False,
    on_message: Callable[[str], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[LeasedRun]:
    """Be the only one to write a run while the block runs; its configuration is written.

    Args:
        config: The run.
        has_workers: Whether other processes than this one train it.
        fresh: Remove what an earlier start left.
        waits: Wait for another live driver of the run to end, instead of refusing.
        on_message: Told in one line whom it waits for, and of its caches.
        should_stop: Asked all the time while it waits, and by what trains it.

    Raises:
        StoppedError: It was asked to stop while it waited.
        ConfigError: Another live driver writes the run, and ``waits`` is false; or an input of
            the run is not what it was planned with.
        PublicationError: Something else than the run lies in its place.
        StorageError: Its place cannot be written, read, listed and deleted from.
    """
    named = pinned(config)
    paths = run_paths(named)
    # Before the lease, which is itself a file there: a store that lies about writes holds none.
    check_storage(paths.run)
    require_own(paths.run, marks=paths.marks, what="run")
    with held_lease(
        paths.lease,
        has_workers=has_workers,
        waits=waits,
        on_wait=on_message,
        should_stop=should_stop,
    ) as lease:
        # Only now: what another driver may still write can be neither removed nor trusted.
        if fresh:
            _clear(paths)
        result = read_result(paths)
        if result is None:
            # Between the plan of a study and a run of it, days may pass.
            check_inputs(config)
            uris.write_bytes(paths.config, as_yaml(named).encode())
            uris.write_bytes(paths.inputs, written_inputs(named))
        yield LeasedRun(
            config=named,
            paths=paths,
            result=result,
            on_message=on_message,
            should_stop=lambda: lease.is_lost or should_stop(),
        )


def _clear(paths: RunPaths) -> None:
    """Remove what a run has left, first of all that it is done; the lease stays.

    Raises:
        PublicationError: Where it has published, something else lies, too.
    """
    steps = checkpoint_steps(paths.checkpoints)
    checkpoints = [uris.join(paths.checkpoints, checkpoint_name(step)) for step in steps]
    published = {paths.model: MODEL} | dict.fromkeys(checkpoints, CHECKPOINT)
    for uri, kind in published.items():
        require_place(uri, kind=kind, overwrites=True)
    # First: a start that is killed here must not take what is left for a run that is done.
    uris.delete(paths.result)
    for uri, kind in published.items():
        remove(uri, kind=kind)
    for uri in (paths.run, paths.checkpoints, paths.wandb):
        remove_scratch(uri)
    append_log.delete(paths.metrics)
    events = (n for n in uris.list_names(paths.tensorboard) if n.startswith(EVENTS))
    uris.delete_many(paths.tensorboard, events)
    for uri in paths.files:
        uris.delete(uri)


def _train_here(run: LeasedRun, world: World, listener: Listener) -> RunResult:
    if not run.ensure_caches():
        return run.stopped()
    news = _News(run.paths, listener)

    def stop_reason() -> StopReason:
        # Told between steps, by the thread that takes them: nothing else prints while a debugger
        # has it.
        news.tell_in_time()
        return StopReason.STOPPED if run.should_stop() else StopReason.NONE

    try:
        context = Context(world=world, report=lambda _: None, stop_reason=stop_reason)
        return train_worker(run.config, run.paths, context)
    finally:
        news.tell()


def device_of(config: RunConfig) -> torch.device:
    """Return what a run in this process computes on.

    Raises:
        ConfigError: It asks for a GPU, and there is none.
    """
    if (device := local_device(config.cluster)) is None:
        message = (
            f"cluster.gpus_per_worker is {config.cluster.gpus_per_worker}, but PyTorch finds no "
            "GPU here; set it to 0"
        )
        raise ConfigError(message)
    return device


def train_on_workers(
    run: LeasedRun, *, callbacks: Sequence["UserCallback"] = (), is_alone: bool = False
) -> RunResult:
    """Build a run's caches and train it, on workers; arguments as of ``train_under_ray``."""
    # Imported here: a run in this process needs no Ray, and its environment is set before.
    from raykd.train.on_ray.cache_workers import cache_workers  # noqa: PLC0415
    from raykd.train.on_ray.driver import train_under_ray  # noqa: PLC0415

    try:
        if not run.ensure_caches(cache_workers):
            return run.stopped()
        return train_under_ray(
            run.config,
            run.paths,
            on_message=run.on_message,
            should_stop=run.should_stop,
            callbacks=callbacks,
            is_alone=is_alone,
        )
    finally:
        # Ray Train's own records, which no later start reads: it begins at raykd's checkpoints.
        remove(run.paths.ray)


class _News:
    """Tells a listener of the records that a run adds."""

    def __init__(self, paths: RunPaths, listener: Listener) -> None:
        self._tail = MetricsTail(paths.metrics)
        self._listener = listener
        self.seconds = _POLL_SECONDS if uris.is_local(paths.run) else _REMOTE_POLL_SECONDS
        """Between two looks."""

        self._looked_at = time.monotonic()

    def tell_in_time(self) -> None:
        """Tell what is new, if the last look was long enough ago."""
        if time.monotonic() - self._looked_at >= self.seconds:
            self.tell()

    def tell(self) -> None:
        """Tell what is new."""
        # Where the store is away, training goes on, and records are told later; the end of a run
        # does not wait for them.
        with suppress(StorageError), uris.retry_for(_REMOTE_POLL_SECONDS):
            for record in self._tail.new_records():
                self._listener.on_record(record)
        self._looked_at = time.monotonic()


@contextmanager
def followed(paths: RunPaths, listener: Listener) -> Iterator[None]:
    """Tell the listener of every record that the workers write, wherever they run."""
    news = _News(paths, listener)
    try:
        with repeating(news.seconds, news.tell, name="raykd-follow"):
            yield
    finally:
        news.tell()
