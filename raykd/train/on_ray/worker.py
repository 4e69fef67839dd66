"""One worker of Ray Train: what the adapter gives the run, and what it hears from outside."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import ray.train
from ray.train.v2._internal.execution.context import get_train_context

from raykd.config.load import checked_run
from raykd.distill.world import World
from raykd.machine.process import prepare_process
from raykd.ray_cluster.placement import note_placed
from raykd.runs.paths import RunPaths
from raykd.runs.stop import Leave
from raykd.train.on_ray.hang import beacon
from raykd.train.on_ray.stop_request import watched_request
from raykd.train.worker import Context, train_worker


def train_loop(arguments: dict[str, Any]) -> dict[str, Any]:
    """Run one worker of Ray Train; its arguments are plain values, which any Ray pickles."""
    config = checked_run(arguments["config"], origin=arguments["run_uri"])
    prepare_process(cores=config.cluster.cpus_per_worker)
    paths = RunPaths(arguments["run_uri"])
    context = ray.train.get_context()
    world = World(
        rank=context.get_world_rank(),
        size=context.get_world_size(),
        device=ray.train.torch.get_device(),
    )
    with (
        _asked(paths, attempt=arguments["attempt"], rank=world.rank) as asked,
        beacon(world) as note,
    ):
        result = train_worker(
            config,
            paths,
            Context(
                world=world,
                report=ray.train.report,
                leave=lambda: max(asked(), _announced()),
                note=note,
            ),
        )
    return asdict(result)


@contextmanager
def _asked(paths: RunPaths, *, attempt: str, rank: int) -> Iterator[Callable[[], Leave]]:
    """Yield what the driver asks; the first worker alone looks for it."""
    if rank != 0:
        yield lambda: Leave.NO
        return
    note_placed(attempt)
    with watched_request(paths, attempt=attempt) as watch:
        yield lambda: watch.asked


def _announced() -> Leave:
    """Return whether a machine of the workers is going to be taken away.

    Ray's own question is a barrier between all workers, in every step; what it asks for is here.
    """
    found = get_train_context().preemption_context.preemption_info
    return Leave.NO if found is None else Leave.PREEMPTED
