"""A run from the driver's side: find out where it stands, then train it to its end."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from raykd import storage
from raykd.config.load import as_yaml
from raykd.config.schema.run import RunConfig
from raykd.distill.world import World
from raykd.errors import ConfigError
from raykd.train.lease import held_lease
from raykd.train.metrics import MetricsTail, Record
from raykd.train.paths import RunPaths, located, run_paths
from raykd.train.ray_cluster import ray_cluster
from raykd.train.worker import Context, RunResult, read_result, train_worker

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
    """Asked after every step of a run in this process."""


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
    paths = run_paths(config)
    with held_lease(paths.lease, has_workers=config.cluster.num_workers > 0):
        if fresh:
            _clear(paths)
        if (result := read_result(paths)) is not None:
            return result
        storage.write_bytes(paths.config, as_yaml(located(config)).encode())
        with _followed(paths, listener):
            if config.cluster.num_workers == 0:
                return _train_here(located(config), paths, listener)
            return _train_on_ray(located(config), paths, address=address, listener=listener)


def _clear(paths: RunPaths) -> None:
    """Remove what a run has left, its checkpoints first; the lease stays."""
    for uri in (
        paths.result,
        paths.checkpoints,
        paths.model,
        paths.metrics,
        paths.tensorboard,
        paths.init,
        paths.config,
    ):
        storage.delete(uri)


def _train_here(config: RunConfig, paths: RunPaths, listener: Listener) -> RunResult:
    if config.cluster.gpus_per_worker > 0 and not torch.cuda.is_available():
        message = (
            f"cluster.gpus_per_worker is {config.cluster.gpus_per_worker}, but PyTorch finds no "
            "GPU here; set it to 0"
        )
        raise ConfigError(message)
    device = torch.device("cuda" if config.cluster.gpus_per_worker > 0 else "cpu")
    context = Context(
        world=World(device=device), report=lambda _: None, should_stop=listener.should_stop
    )
    return train_worker(config, paths, context)


def _train_on_ray(
    config: RunConfig, paths: RunPaths, *, address: str, listener: Listener
) -> RunResult:
    cluster = config.cluster
    with ray_cluster(
        address,
        num_cpus=cluster.num_workers * cluster.cpus_per_worker,
        num_gpus=cluster.num_workers * cluster.gpus_per_worker,
    ):
        # Imported here: a run in this process needs no Ray, and Ray's environment is set above.
        from raykd.train.ray_train import train_under_ray  # noqa: PLC0415

        try:
            return train_under_ray(config, paths, on_retry=listener.on_message)
        finally:
            storage.delete(paths.ray)


@contextmanager
def _followed(paths: RunPaths, listener: Listener) -> Iterator[None]:
    """Tell the listener of every record that the workers write, wherever they run."""
    ended = threading.Event()
    seconds = _POLL_SECONDS if storage.is_local(paths.run) else _REMOTE_POLL_SECONDS

    tail = MetricsTail(paths.metrics)

    def follow() -> None:
        is_last = False
        while not is_last:
            is_last = ended.wait(seconds)
            for record in tail.new_records():
                listener.on_record(record)

    thread = threading.Thread(target=follow, name="raykd-follow", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
