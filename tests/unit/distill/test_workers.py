"""Several processes compute what one does: the same gradients, the same evaluation."""

from pathlib import Path
from typing import Any

import pytest
import torch
from raykd.config.schema.run import TaskName
from raykd.distill.assemble import assemble
from raykd.distill.loop import training_steps
from raykd.distill.setup import read_setup
from raykd.distill.world import World
from raykd.models.load import save_model
from raykd.models.shards import full_tensor
from raykd.runs.checkpoint import trained_parameters

from tests.processes import in_processes
from tests.small_runs import TINY_BERT, number_data, small_data, small_run
from tests.tiny_models import tiny_model
from tests.unit.distill.test_step import in_double

NUM_STEPS = 3
TASK: TaskName = "sequence_classification"


def methods(directory: Path) -> dict[str, Any]:
    """Return what a run with teachers, projections for languages, and maps of layers sets."""
    return {
        "task": TASK,
        "student": {
            "architecture": TINY_BERT | {"num_heads": 4},
            "projections": "per_language",
        },
        "teachers": {
            "a": {"model": str(directory / "a")},
            "b": {"model": str(directory / "b"), "languages": ["en"], "permuted": 3},
            "none": {"unigram": {}},
        },
        "teacher_weights": {"importance": {"temperature": 0.2}},
        "losses": {
            "cross_entropy": {"label_smoothing": 0.1},
            "forward_kl": {"temperature": "2"},
            "hidden_states": {"teacher": "a"},
            "attention_scores": {"teacher": "a"},
            "attention_relations": {"teacher": "a"},
        },
    }


def trained(world: World, directory: Path, out: Path, changes: dict[str, Any]) -> None:
    """Train some steps as one of several workers; the first writes weights and metrics."""
    # 8 rows in 6 lanes: workers have different numbers of rows and micro-batches.
    config = small_run(directory, train__num_steps=NUM_STEPS, train__micro_batch_size=2, **changes)
    run = in_double(assemble(read_setup(config), world=world))
    learned = [parameter for _, parameter in trained_parameters(run.state)]
    run.state.optimizer = torch.optim.SGD(learned, lr=1.0)
    finished = list(
        training_steps(
            run.state,
            run.objective,
            run.steps(),
            options=run.loop_options,
            world=run.world,
            flags=lambda: (world.rank, 5 - world.rank),
        )
    )
    # One alone has nobody to agree with.
    agreed = (world.size - 1, 5) if world.size > 1 else ()
    assert [step.flags for step in finished] == [agreed] * NUM_STEPS
    metrics = run.named(run.evaluate())
    weights = {name: full_tensor(tensor) for name, tensor in run.objective.state_dict().items()}
    if world.rank == 0:
        losses = [x for step in finished for x in (step.loss, step.grad_norm, step.tokens)]
        torch.save({"weights": weights, "losses": losses, "metrics": metrics}, out)


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("size", "is_sharded", "names"),
    [
        (3, False, ["embeddings", "layers below 1"]),
        (2, True, ["embeddings", "layers below 1"]),
        (2, False, ["encoder"]),
        (3, True, ["encoder"]),
    ],
)
def test_workers_agree_with_one_where_parts_are_frozen(
    tmp_path: Path, size: int, is_sharded: bool, names: list[str]
) -> None:
    small_data(tmp_path / "data")
    changes: dict[str, Any] = {
        "task": TASK,
        "student": {"architecture": TINY_BERT, "freeze": names},
    }
    trained(World(), tmp_path, tmp_path / "alone", changes)
    changes["cluster__shard_student"] = is_sharded
    together = tmp_path / "together"
    in_processes(trained, tmp_path, together, changes, size=size, store=tmp_path / "store")
    assert_agree(tmp_path / "alone", together)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_workers_agree_with_one_on_numbers(tmp_path: Path) -> None:
    number_data(tmp_path / "data")
    changes: dict[str, Any] = {"task": TASK, "losses": {"squared_error": {}}}
    trained(World(), tmp_path, tmp_path / "1", changes)
    alone = torch.load(tmp_path / "1", weights_only=True)
    names = ("eval/pearson", "eval/spearman", "eval/pearson/de", "eval/spearman/en")
    assert all(0 < abs(alone["metrics"][name]) < 1 for name in names)
    for size in (2, 3):
        store = tmp_path / f"store {size}"
        in_processes(trained, tmp_path, tmp_path / str(size), changes, size=size, store=store)
        together = torch.load(tmp_path / str(size), weights_only=True)
        assert together["losses"] == pytest.approx(alone["losses"], rel=1e-12)
        assert together["metrics"] == pytest.approx(alone["metrics"], rel=1e-9)


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("is_sharded", [False, True])
@pytest.mark.parametrize("with_methods", [False, True])
@pytest.mark.parametrize("size", [2, 3])
def test_workers_agree_with_one(
    tmp_path: Path, size: int, with_methods: bool, is_sharded: bool
) -> None:
    small_data(tmp_path / "data")
    for seed, name in enumerate(("a", "b")):
        save_model(tiny_model("bert", TASK, num_layers=4, seed=seed), tmp_path / name)
    changes = methods(tmp_path) if with_methods else {}
    trained(World(), tmp_path, tmp_path / "alone", changes)
    changes["cluster__shard_student"] = is_sharded
    in_processes(
        trained, tmp_path, tmp_path / "together", changes, size=size, store=tmp_path / "store"
    )
    weights = assert_agree(tmp_path / "alone", tmp_path / "together")
    assert with_methods == any(name.startswith("projections.") for name in weights)


def assert_agree(one: Path, other: Path) -> dict[str, torch.Tensor]:
    """Check that two runs have found the same; return the weights."""
    alone, together = (torch.load(path, weights_only=True) for path in (one, other))
    assert together["losses"] == pytest.approx(alone["losses"], rel=1e-12)
    assert together["metrics"] == pytest.approx(alone["metrics"], rel=1e-12)
    for name, tensor in alone["weights"].items():
        torch.testing.assert_close(together["weights"][name], tensor, atol=1e-12, rtol=1e-12)
    weights: dict[str, torch.Tensor] = alone["weights"]
    return weights
