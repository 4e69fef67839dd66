"""Selected weights are the source's, at evenly spaced or the first indices."""

from typing import Any, Literal

import pytest
import torch
from raykd.config.schema.run import TaskName
from raykd.errors import ModelError
from raykd.init.provenance import InitResult
from raykd.init.select import select
from raykd.models.families import FAMILIES
from raykd.models.parts import distinct_tensors

from tests.tiny_models import FAMILY_IDS, FAMILY_TASKS
from tests.unit.init.sized_models import (
    CLASSES,
    DOUBLE,
    HALF_MORE,
    random_names,
    sides,
    sized_model,
    start,
)


def selected(source: Any, target: Any, indices: Literal["even", "first"] = "even") -> InitResult:
    result = select(*sides(source, target), layers=(0, 1), indices=indices, class_order=CLASSES)
    start(target, result)
    return result


@pytest.mark.parametrize(("family", "task"), FAMILY_TASKS, ids=FAMILY_IDS)
def test_every_tensor_of_a_smaller_model_holds_weights_of_the_source(
    family: str, task: TaskName
) -> None:
    source = sized_model(family, task, DOUBLE, num_layers=3, seed=1)
    target = sized_model(family, task, HALF_MORE, seed=2)
    result = selected(source, target)
    assert not random_names(result)
    theirs = distinct_tensors(source)
    for name, tensor in distinct_tensors(target).items():
        assert torch.isin(tensor, theirs[name]).all(), name


def test_even_indices_of_every_dimension() -> None:
    source = sized_model("bert", "masked_lm", DOUBLE, seed=1)
    target = sized_model("bert", "masked_lm", seed=2)
    selected(source, target)
    mine, theirs = distinct_tensors(target), distinct_tensors(source)
    table = "bert.embeddings.word_embeddings.weight"
    assert torch.equal(mine[table], theirs[table][:, ::2])
    layer = "bert.encoder.layer.1"
    matrix = f"{layer}.intermediate.dense.weight"
    assert torch.equal(mine[matrix], theirs[matrix][::2, ::2])
    query = f"{layer}.attention.self.query.weight"  # every other head, whole
    assert torch.equal(
        mine[query].unflatten(0, (4, 8)), theirs[query].unflatten(0, (8, 8))[::2, :, ::2]
    )


def test_blocks_of_fused_projections_are_selected_apart() -> None:
    source = sized_model("gpt2", "causal_lm", DOUBLE, seed=1)
    target = sized_model("gpt2", "causal_lm", seed=2)
    selected(source, target)
    mine, theirs = (m.transformer.h[0].attn.c_attn.weight for m in (target, source))
    heads = mine.unflatten(1, (3, 4, 8))
    assert torch.equal(heads, theirs.unflatten(1, (3, 8, 8))[::2, :, ::2])


def test_narrower_rotary_heads_keep_their_frequencies() -> None:
    source, target = (
        sized_model("llama", "causal_lm", seed=seed, settings={"head_dim": width})
        for seed, width in ((1, 8), (2, 4))
    )
    selected(source, target)
    mine, theirs = (m.model.layers[0].self_attn.k_proj.weight for m in (target, source))
    assert torch.equal(mine.unflatten(0, (2, 4)), theirs.unflatten(0, (2, 8))[:, ::2])
    frequencies = [m.model.rotary_emb.inv_freq for m in (target, source)]
    torch.testing.assert_close(frequencies[0], frequencies[1][::2])


@pytest.mark.parametrize("indices", ["even", "first"])
@pytest.mark.parametrize("family", FAMILIES)
def test_equal_sizes_give_the_source_bit_by_bit(
    family: str, indices: Literal["even", "first"]
) -> None:
    task = next(iter(FAMILIES[family].heads))
    source, target = (sized_model(family, task, seed=seed) for seed in (1, 2))
    result = selected(source, target, indices)
    assert {origin.how for origin in result.provenance.values()} == {"copied"}
    for name, tensor in distinct_tensors(source).items():
        assert torch.equal(distinct_tensors(target)[name], tensor)


@pytest.mark.parametrize("indices", ["even", "first"])
def test_a_wider_student_is_refused(indices: Literal["even", "first"]) -> None:
    source, target = sized_model("bert", "masked_lm"), sized_model("bert", "masked_lm", DOUBLE)
    with pytest.raises(ModelError, match="hidden_size is 64, the source's 32: a student that shr"):
        selected(source, target, indices)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_plan_needs_no_weights(family: str) -> None:
    task = next(iter(FAMILIES[family].heads))
    with torch.device("meta"):
        source, target = sized_model(family, task, DOUBLE), sized_model(family, task)
    plan = select(*sides(source, target), layers=(0, 1), indices="even", class_order=CLASSES)
    assert all(tensor.is_meta for tensor in plan.state.values())
    assert plan.provenance.keys() == distinct_tensors(target).keys()
