"""A checkpoint of sharded workers is that of one worker which has everything."""

from pathlib import Path

import pytest
import torch
import torch.distributed
from raykd.data.manifest import TOKENIZER_DIRECTORY
from raykd.distill.assemble import assemble
from raykd.distill.distillation import Distillation
from raykd.distill.optimizer import build_optimizer
from raykd.distill.world import World
from raykd.published.places import Part
from raykd.train.checkpoint import restore_checkpoint
from raykd.train.snapshot import publish_snapshot, take_snapshot
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.multiprocessing.spawn import spawn

from tests.small_runs import small_data, small_run
from tests.unit.train.test_snapshot import run_state, tensors

NUM_WORKERS = 2


def take_step(run: Distillation) -> None:
    """Change weights and moments, alike however they are sharded."""
    for parameter in run.student.parameters():
        parameter.grad = torch.full_like(parameter, 0.25)
    run.state.optimizer.step()
    run.state.step = 1


def write_sharded(rank: int, directory: Path) -> None:
    rendezvous = f"file://{directory / 'rendezvous'}"
    torch.distributed.init_process_group(
        "gloo", init_method=rendezvous, rank=rank, world_size=NUM_WORKERS
    )
    world = World(rank=rank, size=NUM_WORKERS)
    config = small_run(directory)
    run = assemble(config, world=world)
    fully_shard(run.student.model, mesh=init_device_mesh("cpu", (NUM_WORKERS,)))
    run.state.optimizer = build_optimizer(run.student, config.optimizer)
    take_step(run)
    snapshot = take_snapshot(run.state, run_state=run_state(run), world=world)
    publish_snapshot(
        str(directory / "step-00000001"),
        snapshot,
        part=Part(index=rank, count=NUM_WORKERS, token="t"),  # noqa: S106  no secret
        origin={},
        tokenizer_path=directory / "data" / TOKENIZER_DIRECTORY,
    )
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_a_checkpoint_of_fsdp_restores_without_it(tmp_path: Path) -> None:
    small_data(tmp_path / "data")
    spawn(write_sharded, args=(tmp_path,), nprocs=NUM_WORKERS)
    config = small_run(tmp_path)
    expected = assemble(config, world=World())
    take_step(expected)
    found = assemble(config, world=World(), is_restored=True)
    restore_checkpoint(str(tmp_path / "step-00000001"), found.state)
    mine, theirs = tensors(found), tensors(expected)
    assert mine.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert torch.equal(mine[name], tensor), name
