"""A sharded student trains as any other does, and goes on from any other's checkpoint."""

import gc
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from raykd.data.manifest import TOKENIZER_DIRECTORY
from raykd.distill.assemble import assemble
from raykd.distill.distillation import Distillation
from raykd.distill.loop import training_steps
from raykd.distill.optimizer import build_optimizer
from raykd.distill.setup import read_setup
from raykd.distill.world import World
from raykd.models.load import save_model
from raykd.models.shards import full_tensor
from raykd.runs.checkpoint import restore_checkpoint, trained_parameters
from raykd.runs.snapshot import Copies, publish_snapshot, take_snapshot
from raykd.storage.published.places import Part
from torch.distributed.tensor import DTensor

from tests.processes import in_processes
from tests.small_runs import TINY_BERT, small_data, small_run
from tests.tiny_models import tiny_model
from tests.unit.distill.test_step import in_double
from tests.unit.runs.test_snapshot import run_state

PARTS = ((2, True, 2), (3, True, 1), (2, False, 1), (3, True, 1), (1, True, 1))
"""Of one run: the number of workers, whether they share out the student, and the steps."""

NUM_STEPS = sum(steps for _, _, steps in PARTS)


def masked_lm(directory: Path) -> dict[str, Any]:
    """Return what a run with tied embeddings sets."""
    return {"task": "masked_lm", "losses": {"cross_entropy": {}}}


def frozen(directory: Path) -> dict[str, Any]:
    """Return what a run sets that trains the upper half of its student."""
    student = {"architecture": TINY_BERT, "freeze": ["embeddings", "layers below 1"]}
    return {"task": "masked_lm", "student": student}


def causal_lm(directory: Path) -> dict[str, Any]:
    """Return what a run sets whose teacher is wider, so that maps are learned between layers."""
    save_model(tiny_model("gpt2", "causal_lm", num_layers=4), directory / "teacher")
    return {
        "task": "causal_lm",
        # Norms of Llama compute in float32 whatever they are given.
        "student": {"architecture": TINY_BERT | {"model_type": "gpt2"}},
        "teachers": {"wide": {"model": str(directory / "teacher")}},
        "losses": {"cross_entropy": {}, "forward_kl": {}, "hidden_states": {}},
        "train__activation_checkpointing": True,
    }


def check_shares(run: Distillation) -> None:
    """Check that a worker has no more than its rows of anything, and all together everything."""
    held = everything = 0
    for name, parameter in trained_parameters(run.state):
        moments = run.state.optimizer.state[parameter]
        for tensor in (parameter, parameter.grad, moments["exp_avg"], moments["exp_avg_sq"]):
            assert isinstance(tensor, DTensor), name
            share = tensor.to_local()
            assert len(share) <= -(-len(parameter) // run.world.size), name
            held, everything = held + share.nbytes, everything + tensor.nbytes
    assert run.world.all_reduce_sum(torch.tensor(held)) == everything
    if run.objective.ensemble is None and not run.config.student.freeze:
        # What was gathered is gone: shares, of equal size in memory, are all that is alive.
        assert held <= alive_bytes() < everything * (1 / run.world.size + 0.05)


def alive_bytes() -> int:
    """Return the size of all floats in memory, whoever has them."""
    gc.collect()
    tensors = [x for x in gc.get_objects() if type(x) in (torch.Tensor, torch.nn.Parameter)]
    storages = [x.untyped_storage() for x in tensors if x.is_floating_point()]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def save_state(run: Distillation, path: Path) -> None:
    """Write what a run learns and its moments, whole."""
    found = {}
    for name, parameter in trained_parameters(run.state):
        found[name] = full_tensor(parameter.detach())
        for moment, value in run.state.optimizer.state[parameter].items():
            found[f"{name}/{moment}"] = full_tensor(value)
    if run.world.rank == 0:
        torch.save(found, path)


def train_part(
    world: World, directory: Path, changes: dict[str, Any], start: str | None, num_steps: int
) -> None:
    """Take steps from a checkpoint on, and leave another; the first worker says what it had."""
    # 8 rows in 6 lanes: workers have different numbers of rows and micro-batches.
    config = small_run(
        directory, train__micro_batch_size=2, optimizer__max_grad_norm=0.5, **changes
    )
    run = in_double(assemble(read_setup(config), world=world, is_restored=start is not None))
    run.state.optimizer = build_optimizer(run.objective, config.optimizer)
    if start is not None:
        restore_checkpoint(start, run.state)
    save_state(run, directory / f"restored-{run.state.step}")
    stepped = training_steps(
        run.state, run.objective, run.steps(), options=run.loop_options, world=world
    )
    if config.cluster.shard_student and world.size > 1:
        run.state.optimizer.register_step_post_hook(lambda *_: check_shares(run))
    losses = [step.loss for step in itertools.islice(stepped, num_steps)]
    metrics = run.named(run.evaluate())
    after = run_state(run)
    snapshot = take_snapshot(run.state, run_state=after, world=world, copies=Copies())
    publish_snapshot(
        str(directory / f"step-{after.step}"),
        snapshot,
        part=Part(index=world.rank, count=world.size, token="t"),  # noqa: S106  no secret
        origin={},
        companions=directory / "data" / TOKENIZER_DIRECTORY,
    )
    save_state(run, directory / f"left-{after.step}")
    if world.rank == 0:
        torch.save({"metrics": metrics, "losses": losses}, directory / f"found-{after.step}")


def run_part(size: int, directory: Path, *arguments: Any) -> None:
    if size == 1:
        train_part(World(), directory, *arguments)
        return
    store = directory / f"store-{len(list(directory.iterdir()))}"
    in_processes(train_part, directory, *arguments, size=size, store=store)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("method", [masked_lm, causal_lm, frozen])
def test_a_run_goes_on_however_its_student_is_held(tmp_path: Path, method: Any) -> None:
    alone, parts = tmp_path / "alone", tmp_path / "parts"
    for directory in (alone, parts):
        small_data(directory / "data")
    changes = method(tmp_path)
    train_part(World(), alone, changes, None, NUM_STEPS)
    step, losses = 0, []
    for size, is_sharded, num_steps in PARTS:
        cluster = {"num_workers": size, "shard_student": is_sharded}
        start = str(parts / f"step-{step}") if step else None
        run_part(size, parts, changes | {"cluster": cluster}, start, num_steps)
        if step:
            restored, left = (read(parts / f"{name}-{step}") for name in ("restored", "left"))
            assert restored.keys() == left.keys()
            assert [name for name in left if not torch.equal(restored[name], left[name])] == []
        step += num_steps
        losses += read(parts / f"found-{step}")["losses"]
    expected = read(alone / f"found-{NUM_STEPS}")
    assert losses == pytest.approx(expected["losses"], rel=1e-9)
    found = read(parts / f"found-{NUM_STEPS}")
    assert found["metrics"] == pytest.approx(expected["metrics"], rel=1e-9)
    left, whole_left = (read(directory / f"left-{NUM_STEPS}") for directory in (parts, alone))
    assert left.keys() == whole_left.keys()
    for name, tensor in whole_left.items():
        torch.testing.assert_close(left[name], tensor, atol=1e-10, rtol=1e-8, msg=name)


def read(path: Path) -> Any:
    return torch.load(path, weights_only=True)
