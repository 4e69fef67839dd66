"""Learning to grow lowers the student's loss and changes nothing but the operator."""

import pytest
import torch
from raykd.batch import Batch
from raykd.distill.growth import grown_loss, learn_growth
from raykd.errors import NonFiniteLossError
from raykd.init.ligo import GrowthOperator
from raykd.models.families import FAMILIES
from raykd.models.parts import distinct_tensors, set_tensors, weights_of
from raykd.models.scored import ScoredModel
from torch.nn import functional as F

from tests.tiny_models import padded_batch, scored, tiny_model


def start(family: str) -> tuple[GrowthOperator, ScoredModel, ScoredModel, Batch]:
    """Return an operator, the student and source it is between, and a batch."""
    task = next(iter(FAMILIES[family].heads))
    source = tiny_model(family, task, seed=1)
    student = tiny_model(
        family, task, num_layers=3, seed=2, hidden_size=64, num_heads=8, intermediate_size=96
    )
    operator = GrowthOperator(
        weights_of(source),
        weights_of(student),
        layers=(0, 1, 0),
        class_order=(),
        generator=torch.Generator().manual_seed(0),
    )
    return operator, scored(student, task), scored(source, task), padded_batch(task)


def copied_state(model: ScoredModel) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_falls_and_only_the_operator_changes(family: str) -> None:
    operator, student, source, batch = start(family)
    before = copied_state(student), copied_state(source)
    with torch.no_grad():
        first = float(grown_loss(operator(), student, batch))
    learn_growth(operator, student, [batch] * 5, num_steps=5, learning_rate=1e-3)
    with torch.no_grad():
        assert float(grown_loss(operator(), student, batch)) < first - 0.01
    for model, state in zip((student, source), before, strict=True):
        assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
        assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama"])
def test_the_loss_is_that_of_the_student_with_the_grown_weights(family: str) -> None:
    operator, student, _, batch = start(family)
    loss = grown_loss(operator(), student, batch)
    set_tensors(student.model, operator.result().state)
    expected = F.cross_entropy(student(batch).logits_PK, batch.labels_P).mean()
    assert torch.equal(loss, expected)


def test_the_same_batches_teach_the_same() -> None:
    states = []
    for _ in range(2):
        operator, student, _, batch = start("roberta")
        student.train()  # dropout plays no part
        learn_growth(operator, student, [batch] * 3, num_steps=3, learning_rate=1e-3)
        assert student.training
        states.append(operator.result().state)
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_no_steps_leave_the_start() -> None:
    operator, student, _, _ = start("llama")
    expected = operator.result().state
    learn_growth(operator, student, [], num_steps=0, learning_rate=1e-3)
    state = operator.result().state
    assert state.keys() == distinct_tensors(student.model).keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in expected.items())


def test_too_few_batches_are_refused() -> None:
    operator, student, _, batch = start("gpt2")
    with pytest.raises(ValueError, match="takes 3 batches, but got 1"):
        learn_growth(operator, student, [batch], num_steps=3, learning_rate=1e-3)


def test_a_loss_that_is_not_finite_stops() -> None:
    operator, student, _, batch = start("gpt2")
    with pytest.raises(
        NonFiniteLossError, match=r"the loss is nan in step 1; lower student\.init"
    ):
        learn_growth(operator, student, [batch] * 2, num_steps=2, learning_rate=1e30)
