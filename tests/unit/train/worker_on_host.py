"""One worker of a run on a host: ``worker_on_host.py RUN.yaml RANK SIZE MEETING``.

What Ray Train does on a cluster, without it: the first worker opens the store, all of them meet
there and train. MEETING is a file by which they hear of its address.
"""

import json
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import torch
from raykd.config.load import load_run
from raykd.distill.world import World
from raykd.runs.checkpoint import committed_steps
from raykd.runs.paths import RunPaths, run_paths
from raykd.runs.stop import StopReason
from raykd.train.on_ray.hang import beacon
from raykd.train.on_ray.process_group import join, open_store
from raykd.train.worker import Context, train_worker

_TIMEOUT_SECONDS = 20


def main() -> None:
    """Train; the first worker tells of each evaluation once the checkpoint before is there."""
    file, rank, size, meeting = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    torch.set_num_threads(1)
    meet(rank, size, meeting)
    config = load_run(Path(file))
    world = World(rank=rank, size=size, device=torch.device("cpu"))
    with beacon(world) as note:
        paths = run_paths(config)

        def report(metrics: Mapping[str, float]) -> None:
            if rank == 0:
                step = round(metrics["step"])
                await_checkpoint(paths, step - config.checkpoint.every_steps)
                tell(f"evaluated after step {step}")

        context = Context(
            world=world, report=report, stop_reason=lambda: StopReason.NONE, note=note
        )
        train_worker(config, paths, context)


def meet(rank: int, size: int, meeting: Path) -> None:
    """Make this process one of the group."""
    if rank == 0:
        half = meeting.with_suffix(".half")
        half.write_text(json.dumps(open_store()))
        half.rename(meeting)
    pause = threading.Event()
    while not meeting.exists():
        pause.wait(0.05)
    host, port = json.loads(meeting.read_text())
    join(
        backend="gloo",
        address=(host, port),
        world_rank=rank,
        world_size=size,
        timeout_seconds=_TIMEOUT_SECONDS,
    )


def await_checkpoint(paths: RunPaths, step: int) -> None:
    """Wait until the checkpoint of a step is there: a cut hits none but the next one."""
    pause = threading.Event()
    while step > 0 and step not in committed_steps(paths.checkpoints):
        pause.wait(0.05)


def tell(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
