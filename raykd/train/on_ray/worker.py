"""One worker of Ray Train: what the adapter gives the run, and what it is told from outside."""

from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

import ray.train

from raykd.config.load import checked_run
from raykd.distill.world import World
from raykd.machine.process import prepare_process
from raykd.ray_cluster.placement import note_placed
from raykd.runs.paths import RunPaths
from raykd.runs.stop import StopReason
from raykd.train.on_ray.hang import beacon
from raykd.train.on_ray.stop_request import watched_requests
from raykd.train.worker import Context, train_worker


def train_loop(arguments: dict[str, Any]) -> dict[str, object]:
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
    attempt = arguments["attempt"]
    if world.rank == 0:
        note_placed(attempt)
    # One poller on each node, for the draining of its own: what one worker is told, all do.
    is_first_of_node = context.get_local_rank() == 0
    watch = watched_requests(attempt) if is_first_of_node else nullcontext(_never)
    with watch as stop_reason, beacon(world) as note:
        result = train_worker(
            config,
            paths,
            Context(world=world, report=ray.train.report, stop_reason=stop_reason, note=note),
        )
    return asdict(result)


def _never() -> StopReason:
    return StopReason.NONE
