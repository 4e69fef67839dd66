"""Clipping looks at what has a gradient, and nothing that is skipped would have changed."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from raykd.config.schema.run import TaskName
from raykd.distill.assemble import assemble
from raykd.distill.distillation import Distillation
from raykd.distill.loop import training_steps
from raykd.distill.optimizer import Gradients
from raykd.distill.setup import read_setup
from raykd.distill.world import World
from raykd.models.gradients.embeddings import RowEmbedding, add_gradients_by_rows

from tests.small_runs import small_data, small_run
from tests.tiny_models import padded_batch, scored, tiny_model

NUM_STEPS = 5
TASKS: tuple[TaskName, ...] = ("sequence_classification", "masked_lm")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("optimizer")
    small_data(path / "data")
    return path


def assembled(directory: Path, *, is_by_rows: bool, **changes: Any) -> Distillation:
    run = assemble(
        read_setup(small_run(directory, train__num_steps=NUM_STEPS, **changes)), world=World()
    )
    tables = [m for m in run.student.modules() if isinstance(m, RowEmbedding)]
    assert tables
    for table in tables:
        if not is_by_rows:
            table.__class__ = torch.nn.Embedding  # type: ignore[assignment]
    return run


def trained(run: Distillation) -> dict[str, torch.Tensor]:
    """Take the steps of a run; return its weights and moments."""
    steps = training_steps(
        run.state, run.objective, run.steps(), options=run.loop_options, world=run.world
    )
    norms = [step.grad_norm for step in steps]
    assert len(norms) == NUM_STEPS
    moments = {
        f"{name} {index}": value
        for index, state in enumerate(run.state.optimizer.state.values())
        for name, value in state.items()
    }
    return {**run.student.state_dict(), **moments, "norms": torch.tensor(norms)}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("max_grad_norm", [0.05, 1e9], ids=["clipped", "not clipped"])
def test_steps_by_rows_end_as_steps_over_tables(
    directory: Path, task: TaskName, max_grad_norm: float
) -> None:
    changes = {"task": task, "optimizer__max_grad_norm": max_grad_norm}
    plain, by_rows = (
        assembled(directory, is_by_rows=is_by_rows, **changes) for is_by_rows in (False, True)
    )
    for run in (plain, by_rows):
        run.student.double()
    torch.testing.assert_close(trained(by_rows), trained(plain), rtol=1e-9, atol=1e-12)


def test_unclipped_steps_of_one_pass_end_in_the_same_bits(directory: Path) -> None:
    changes = {
        "task": "sequence_classification",
        "optimizer__max_grad_norm": 1e9,
        "train__micro_batch_size": 8,
    }
    plain, by_rows = (
        trained(assembled(directory, is_by_rows=is_by_rows, **changes))
        for is_by_rows in (False, True)
    )
    del plain["norms"], by_rows["norms"]
    assert by_rows.keys() == plain.keys()
    assert all(torch.equal(by_rows[name], tensor) for name, tensor in plain.items())


def with_gradients(*, is_by_rows: bool) -> torch.nn.Module:
    """Return a small module after a backward pass that reads some rows twice."""
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Embedding(12, 4, padding_idx=1), torch.nn.Linear(4, 3))
    if is_by_rows:
        add_gradients_by_rows(module, is_shared=False)
    module(torch.tensor([[1, 3, 3], [7, 3, 1]])).square().sum().backward()
    return module


@pytest.mark.parametrize("max_norm", [0.5, 1e6])
def test_clipping_is_that_of_torch(max_norm: float) -> None:
    plain, by_rows = (with_gradients(is_by_rows=is_by_rows) for is_by_rows in (False, True))
    expected = torch.nn.utils.clip_grad_norm_(plain.parameters(), max_norm)
    assert 0.5 < expected < 1e6
    torch.testing.assert_close(Gradients(by_rows).clip(max_norm), expected)
    for mine, theirs in zip(by_rows.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)


def test_a_table_keeps_its_memory_and_nothing_of_the_step_before() -> None:
    module = with_gradients(is_by_rows=True)
    table = module[0].weight.grad  # type: ignore[index]
    assert table.count_nonzero() > 0
    gradients = Gradients(module)
    gradients.zero()
    assert table.count_nonzero() == 0
    others = list(module.parameters())[1:]
    assert all(parameter.grad is None for parameter in others)
    again = with_gradients(is_by_rows=False)
    module(torch.tensor([[1, 3, 3], [7, 3, 1]])).square().sum().backward()
    for mine, theirs in zip(module.parameters(), again.parameters(), strict=True):
        assert torch.equal(mine.grad, theirs.grad)  # type: ignore[arg-type]
    assert module[0].weight.grad is table  # type: ignore[index]


def test_what_has_let_go_of_a_table_begins_anew() -> None:
    module = with_gradients(is_by_rows=True)
    module.zero_grad(set_to_none=True)
    module(torch.tensor([[5]])).sum().backward()
    gradients = Gradients(module)
    expected = torch.nn.utils.get_total_norm(
        [p.grad for p in module.parameters() if p.grad is not None]
    )
    torch.testing.assert_close(gradients.clip(1e6), expected)
    gradients.zero()
    module(torch.tensor([[3]])).sum().backward()
    table = module[0].weight.grad  # type: ignore[index]
    touched = table.abs().sum(1).nonzero().flatten()
    assert touched.tolist() == [3]


def test_what_reads_a_table_itself_has_its_gradient_clipped_and_let_go() -> None:
    task: TaskName = "sequence_classification"
    # DeBERTa reads its relative positions from the weight.
    settings = {"relative_attention": True, "pos_att_type": "p2c|c2p"}
    plain = scored(tiny_model("deberta-v2", task, settings=settings), task).double()
    by_rows = copy.deepcopy(plain)
    add_gradients_by_rows(by_rows, is_shared=False)
    norms: list[list[torch.Tensor]] = []
    for model in (plain, by_rows):
        gradients, of_model = Gradients(model), []
        for _ in range(3):
            model(padded_batch(task)).logits_PK.log_softmax(-1)[:, 1].sum().backward()
            of_model.append(gradients.clip(0.01))
            clipped = [p.grad for p in model.parameters() if p.grad is not None]
            of_model.append(torch.nn.utils.get_total_norm(clipped))
            gradients.zero()
        norms.append(of_model)
    torch.testing.assert_close(norms[1], norms[0], rtol=1e-10, atol=1e-14)
