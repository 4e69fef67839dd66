"""Workers of a run as processes of this machine, which compute together over gloo."""

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing
from raykd.distill.world import World

_IMPORTED = ["tests.processes", "raykd.train.worker"]
"""Once, by the process that the others are forked from: it takes seconds."""


def in_processes(work: Callable[..., None], *arguments: Any, size: int, store: Path) -> None:
    """Call a function in so many processes, each with its World first.

    Args:
        work: Of a module, so that it can be named to another process.
        arguments: Of the function, after the World.
        size: Number of processes.
        store: A file that does not exist, for them to find each other.
    """
    multiprocessing.set_forkserver_preload(_IMPORTED)
    torch.multiprocessing.start_processes(  # type: ignore[attr-defined, no-untyped-call]  # torch's own
        _worker, args=(size, store, work, arguments), nprocs=size, start_method="forkserver"
    )


def _worker(
    rank: int, size: int, store: Path, work: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=size
    )
    work(World(rank=rank, size=size), *arguments)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    # Everything is written; gloo's threads may abort an ordinary end of the interpreter.
    os._exit(0)
