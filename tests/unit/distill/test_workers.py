"""Several processes compute what one does: the same gradients, the same evaluation."""

import os
from pathlib import Path

import pytest
import torch
import torch.multiprocessing
from raykd.distill.assemble import assemble
from raykd.distill.loop import training_steps
from raykd.distill.world import World

from tests.small_runs import small_data, small_run

NUM_STEPS = 3


def trained(rank: int, size: int, directory: Path, out: Path) -> None:
    """Train some steps in one of several processes; the first writes weights and metrics."""
    torch.set_num_threads(1)
    if size > 1:
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{out}.store", rank=rank, world_size=size
        )
    # 8 rows in 6 lanes: workers have different numbers of rows and micro-batches.
    config = small_run(directory, train__num_steps=NUM_STEPS, train__micro_batch_size=2)
    run = assemble(config, world=World(rank=rank, size=size))
    run.student.double()
    run.state.optimizer = torch.optim.SGD(run.student.parameters(), lr=1.0)
    finished = list(
        training_steps(
            run.state, run.objective, run.steps(), options=run.loop_options, world=run.world
        )
    )
    metrics = run.named(run.evaluate())
    if rank == 0:
        weights = dict(run.student.state_dict())
        losses = [x for step in finished for x in (step.loss, step.grad_norm, step.tokens)]
        torch.save({"weights": weights, "losses": losses, "metrics": metrics}, out)
    if size > 1:
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
        # Everything is written; gloo's threads may abort an ordinary end of the interpreter.
        os._exit(0)


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("size", [2, 3])
def test_workers_agree_with_one(tmp_path: Path, size: int) -> None:
    small_data(tmp_path / "data")
    trained(0, 1, tmp_path, tmp_path / "alone")
    torch.multiprocessing.spawn(  # type: ignore[attr-defined, no-untyped-call]  # torch's own
        trained, args=(size, tmp_path, tmp_path / "together"), nprocs=size
    )
    alone, together = (
        torch.load(tmp_path / name, weights_only=True) for name in ("alone", "together")
    )
    assert together["losses"] == pytest.approx(alone["losses"], rel=1e-12)
    assert together["metrics"] == pytest.approx(alone["metrics"], rel=1e-6)
    for name, tensor in alone["weights"].items():
        torch.testing.assert_close(together["weights"][name], tensor, atol=1e-12, rtol=1e-12)
