"""What every process that trains sets up before anything else, wherever it runs."""

import logging
import math

import torch

from raykd.config.schema.run import RunConfig
from raykd.machine.allocator import keep_large_blocks
from raykd.machine.cores import has_bfloat16, usable_cores

logger = logging.getLogger(__name__)


def prepare_process(*, cores: float | None) -> str:
    """Take the cores that the process is given, and keep memory; return in a line what is set.

    Args:
        cores: Given to a worker or a trial. None takes all that this process may use, as far as
            OMP_NUM_THREADS, which torch has read, allows.
    """
    # More threads than cores: those of one operation wait for each other at its end.
    if cores is None:
        torch.set_num_threads(min(torch.get_num_threads(), usable_cores()))
    else:
        torch.set_num_threads(max(1, math.floor(cores)))
    heap = (
        "large blocks of memory are kept from step to step"
        if keep_large_blocks()
        else "memory is left to the C library, which is not glibc"
    )
    line = f"machine: {torch.get_num_threads()} thread(s); {heap}"
    logger.info(line)
    return line


def machine_warnings(config: RunConfig) -> tuple[str, ...]:
    """Return which settings of a run this machine does badly; its workers may run on others."""
    if config.cluster.gpus_per_worker > 0:
        return ()
    return (*idle_gpus(torch.cuda.device_count()), *_slow_bfloat16(config))


def idle_gpus(num_gpus: int) -> tuple[str, ...]:
    """Return the warning on GPUs of a machine whose run uses none."""
    if not num_gpus:
        return ()
    return (
        f"{num_gpus} GPU(s) of this machine stay idle: cluster.gpus_per_worker is 0; set "
        "cluster.gpus_per_worker=1",
    )


def _slow_bfloat16(config: RunConfig) -> tuple[str, ...]:
    if has_bfloat16():
        return ()
    keys = [
        f"teachers.{name}.dtype"
        for name, teacher in config.teachers.items()
        if teacher.dtype == "bfloat16"
    ]
    if config.train.precision == "bfloat16":
        keys.insert(0, "train.precision")
    return tuple(
        f"{key} is bfloat16, for which the CPU of this machine has no instructions: float32 is "
        "faster here"
        for key in keys
    )
