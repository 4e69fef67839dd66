"""How workers learn together: each with all of the student (DDP), or with a shard of it (FSDP2).

A shard is of its weights, gradients and moments. The weights of a layer are gathered when it is
computed, those of the embeddings and the head throughout a pass. All workers gather together, so
all make as many passes.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.nn.parallel import DistributedDataParallel

from raykd.batch import Batch
from raykd.config.schema.run import RunConfig
from raykd.distill.step import DistillationStep
from raykd.distill.world import World


def data_parallel(
    objective: DistillationStep, world: World
) -> DistillationStep | DistributedDataParallel:
    """Return what several workers call in place of an objective, so that they learn together."""
    if world.size == 1 or is_sharded(objective):
        return objective
    # Transformers have no buffers that training changes, so none is sent before a pass; gradients
    # that are views of the buckets need no memory of their own.
    return DistributedDataParallel(
        objective, forward_sync_buffers=False, gradient_as_bucket_view=True
    )


def synchronised(
    parallel: torch.nn.Module, *, is_last: bool
) -> contextlib.AbstractContextManager[None]:
    """Exchange gradients once per step, with the last micro-batch.

    A sharded student exchanges them with each: none of its workers could hold their sum.
    """
    if isinstance(parallel, DistributedDataParallel) and not is_last:
        return parallel.no_sync()
    return contextlib.nullcontext()


def shards_student(config: RunConfig, world: World) -> bool:
    """Tell whether the workers of a run shard the student: one alone holds all of it."""
    return config.cluster.shard_student and world.size > 1


def shard(objective: DistillationStep, world: World) -> None:
    """Shard what an objective learns over the workers, before it has an optimizer.

    Args:
        objective: Its parameters become DTensors, in place and under the same names.
        world: Every worker takes part.
    """
    # Layer by layer, which bounds what is gathered at a time; the root takes the rest together.
    mesh = init_device_mesh(world.device.type, (world.size,))
    for layer in objective.student.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(objective, mesh=mesh)
    for module in objective.modules():
        if isinstance(module, FSDPModule):
            # Gloo, which CPUs use, knows no mean: sums are divided afterwards.
            module.set_force_sum_reduction_for_comms(enable=True)
    # Evaluation enters by this method: without its hooks nothing would be gathered.
    register_fsdp_forward_method(objective, "student_outputs")


def is_sharded(objective: torch.nn.Module) -> bool:
    """Tell whether an objective is sharded."""
    return isinstance(objective, FSDPModule)


def release(objective: torch.nn.Module) -> None:
    """Keep only the shards again, after passes without a backward; else do nothing."""
    # FSDP2 leaves the root gathered for the backward pass that usually follows (pytorch#131965).
    if isinstance(objective, FSDPModule):
        objective.reshard()


def in_lockstep(
    batches: Iterable[Batch], *, idle: Callable[[], Batch], world: World
) -> Iterator[Batch]:
    """Yield batches, and idle ones until no worker has any left: all take as many."""
    # One small reduction for each batch: no worker knows beforehand how many the others have.
    remaining = iter(batches)
    while True:
        batch = next(remaining, None)
        if not world.all_reduce_max([int(batch is not None)])[0]:
            return
        yield idle() if batch is None else batch


def weights_converted_once(
    parallel: torch.nn.Module, world: World
) -> contextlib.AbstractContextManager[None]:
    """Have autocast convert weights once per step: it forgets them where the outermost one ends.

    A sharded student has them gathered, and so converted, in each pass.
    """
    if is_sharded(parallel):
        return contextlib.nullcontext()
    return torch.autocast(world.device.type, enabled=False)
