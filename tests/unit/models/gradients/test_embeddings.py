"""Gradients of embeddings are added to the rows that were read: the same sums as torch's."""

import copy

import pytest
import torch
from raykd.config.frozen import parse_frozen
from raykd.config.schema.run import TaskName
from raykd.models.gradients.embeddings import RowEmbedding, add_gradients_by_rows
from raykd.models.scored import ScoredModel

from tests.tiny_models import FAMILY_IDS, FAMILY_TASKS, padded_batch, scored, tiny_model


def by_rows(model: ScoredModel, task: TaskName) -> ScoredModel:
    changed = copy.deepcopy(model)
    add_gradients_by_rows(changed, is_shared=task.endswith("_lm"))
    return changed


def gradients(model: ScoredModel, task: TaskName) -> dict[str, torch.Tensor]:
    """Return the gradients of two passes, by the names of what has one."""
    for times in (1, 2):
        logits_PK = model(padded_batch(task)).logits_PK
        (times * logits_PK.log_softmax(-1)[:, 1].sum()).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(("model_type", "task"), FAMILY_TASKS, ids=FAMILY_IDS)
def test_gradients_are_those_of_torch_in_every_family(model_type: str, task: TaskName) -> None:
    plain = scored(tiny_model(model_type, task), task).double()
    changed = by_rows(plain, task)
    assert any(isinstance(module, RowEmbedding) for module in changed.modules())
    assert list(changed.state_dict()) == list(plain.state_dict())
    expected = gradients(plain, task)
    torch.testing.assert_close(gradients(changed, task), expected, rtol=1e-12, atol=1e-14)
    assert max(gradient.abs().max() for gradient in expected.values()) > 0


def test_rows_are_added_in_the_order_of_torch() -> None:
    plain = torch.nn.Embedding(9, 4, padding_idx=2)
    changed = copy.deepcopy(plain)
    add_gradients_by_rows(changed, is_shared=False)
    ids = torch.tensor([[2, 3, 3, 8], [3, 0, 2, 8]])
    weights = torch.randn(2, 4, 4)
    for embedding in (plain, changed):
        (embedding(ids) * weights).sum().backward()
    assert plain.weight.grad is not None
    assert changed.weight.grad is not None
    assert torch.equal(changed.weight.grad, plain.weight.grad)
    assert changed.weight.grad[2].count_nonzero() == 0


def test_one_pass_may_read_a_table_several_times() -> None:
    plain = torch.nn.Embedding(9, 4).double()
    changed = copy.deepcopy(plain)
    add_gradients_by_rows(changed, is_shared=True)
    ids = torch.tensor([1, 5, 5])
    for embedding in (plain, changed):
        scores = embedding(ids) @ embedding.weight.T + embedding(ids + 1).sum()
        scores.square().sum().backward()
    torch.testing.assert_close(changed.weight.grad, plain.weight.grad, rtol=1e-12, atol=0)


def test_no_pass_makes_a_table_once_there_is_one() -> None:
    embedding = torch.nn.Embedding(50, 4)
    add_gradients_by_rows(embedding, is_shared=False)
    embedding(torch.tensor([7])).sum().backward()
    table = embedding.weight.grad
    with torch.profiler.profile(record_shapes=True) as recorded:
        embedding(torch.tensor([7, 9])).sum().backward()
    made = {event.name for event in recorded.events() or [] if "zero" in event.name}
    assert made == set()
    assert embedding.weight.grad is table


def test_frozen_embeddings_stay_as_they_are() -> None:
    model = scored(tiny_model("bert", "sequence_classification"), "sequence_classification")
    model.freeze(parse_frozen(["embeddings"]))
    add_gradients_by_rows(model, is_shared=False)
    assert not any(isinstance(module, RowEmbedding) for module in model.modules())


def test_a_function_of_the_weights_has_their_gradient() -> None:
    embedding = torch.nn.Embedding(9, 4)
    add_gradients_by_rows(embedding, is_shared=False)
    scale = torch.tensor(2.0, requires_grad=True)
    weights = {"weight": embedding.weight.detach() * scale}
    torch.func.functional_call(embedding, weights, (torch.tensor([3]),)).sum().backward()
    torch.testing.assert_close(scale.grad, embedding.weight.detach()[3].sum())
    assert embedding.weight.grad is None
