"""A run from the driver's side: find out where it stands, then train it to its end."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

import torch

from raykd.cached_teachers.build import ensure_caches, told_in_lines
from raykd.cached_teachers.writer import CacheWatch, Workers
from raykd.config.load import as_yaml
from raykd.config.schema.run import RunConfig
from raykd.distill.setup import read_setup
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
from raykd.storage.leases.lease import HeldLease, held_lease
from raykd.storage.published.ownership import remove, remove_scratch, require_own, require_place
from raykd.storage.remote.probe import check_storage
from raykd.train.worker import Context, train_worker

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
    with claimed_run(config, has_workers=has_workers, fresh=fresh) as claim:
        if (result := read_result(claim.paths)) is not None:
            return result
        asked = listener.should_stop
        listener = replace(listener, should_stop=lambda: claim.lease.is_lost or asked())
        if world is not None:
            for line in (prepare_process(cores=None), *machine_warnings(config)):
                listener.on_message(line)
            return _train_here(claim.config, claim.paths, world, listener)
        with followed(claim.paths, listener):
            return _train_on_ray(claim.config, claim.paths, address=address, listener=listener)


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A run that nobody else writes, as long as the lease is not lost."""

    config: RunConfig
    """With absolute paths, and with what its inputs hold."""

    paths: RunPaths
    lease: HeldLease


@contextmanager
def claimed_run(
    config: RunConfig,
    *,
    has_workers: bool,
    fresh: bool = False,
    waits: bool = False,
    on_wait: Callable[[str], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Claim]:
    """Be the only one to write a run while the block runs; its configuration is written.

    Args:
        config: The run.
        has_workers: Whether other processes than this one train it.
        fresh: Remove what an earlier start left.
        waits: Wait for another live driver of the run to end, instead of refusing.
        on_wait: Told in one line whom it waits for.
        should_stop: Asked all the time while it waits.

    Raises:
        StoppedError: It was asked to stop while it waited.
        ConfigError: Another live driver writes the run, and ``waits`` is false; or an input of
            the run is not what it was planned with.
        PublicationError: Something else than the run lies in its place.
        StorageError: Its place cannot be written, read, listed and deleted from.
    """
    named = pinned(config)
    paths = run_paths(named)
    check_storage(paths.run)
    require_own(paths.run, marks=paths.marks, what="run")
    with held_lease(
        paths.lease,
        has_workers=has_workers,
        waits=waits,
        on_wait=on_wait,
        should_stop=should_stop,
    ) as lease:
        if fresh:
            _clear(paths)
        if read_result(paths) is None:
            # Between the plan of a study and a run of it, days may pass.
            check_inputs(config)
            uris.write_bytes(paths.config, as_yaml(named).encode())
            uris.write_bytes(paths.inputs, written_inputs(named))
        yield Claim(config=named, paths=paths, lease=lease)


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


def _train_here(config: RunConfig, paths: RunPaths, world: World, listener: Listener) -> RunResult:
    if not _has_caches(config, listener):
        return _stopped(config, paths)
    news = _News(paths, listener)

    def stop_reason() -> StopReason:
        # Told between steps, by the thread that takes them: nothing else prints while a debugger
        # has it.
        news.tell_in_time()
        return StopReason.STOPPED if listener.should_stop() else StopReason.NONE

    try:
        context = Context(world=world, report=lambda _: None, stop_reason=stop_reason)
        return train_worker(config, paths, context)
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


def _has_caches(config: RunConfig, listener: Listener, workers: Workers | None = None) -> bool:
    """Build what teachers say, where that is not done."""
    watch = CacheWatch(
        on_message=listener.on_message,
        on_progress=told_in_lines(listener.on_message),
        should_stop=listener.should_stop,
    )
    return ensure_caches(config, watch=watch, workers=workers)


def _stopped(config: RunConfig, paths: RunPaths) -> RunResult:
    """Return how a run stands that is to stop while nobody trains it."""
    return RunResult(
        is_done=False,
        step=max(committed_steps(paths.checkpoints), default=0),
        num_steps=read_setup(config).num_steps,
        metrics={},
        model_uri=None,
        stop_reason=StopReason.STOPPED,
    )


def _train_on_ray(
    config: RunConfig, paths: RunPaths, *, address: str, listener: Listener
) -> RunResult:
    try:
        with ray_of_workers(address, config.cluster):
            # Imported here: a run in this process needs no Ray, and its environment is set above.
            from raykd.train.on_ray.cache_workers import cache_workers  # noqa: PLC0415
            from raykd.train.on_ray.driver import train_under_ray  # noqa: PLC0415

            if not _has_caches(config, listener, cache_workers):
                return _stopped(config, paths)
            return train_under_ray(
                config,
                paths,
                on_message=listener.on_message,
                should_stop=listener.should_stop,
                is_alone=True,
            )
    finally:
        remove(paths.ray)


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
        # Where the store is away, training goes on, and records are told later; whoever leaves
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
