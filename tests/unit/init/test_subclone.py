"""Subcloning keeps the most active units, in their order, and the scale of what they feed."""

import math
from typing import Any

import pytest
import torch
from raykd.axes import Scores
from raykd.config.schema.run import TaskName
from raykd.errors import ModelError
from raykd.init.provenance import InitResult
from raykd.init.remap import remap
from raykd.init.subclone import subclone
from raykd.models.activations import activation_scores
from raykd.models.families import FAMILIES
from raykd.models.parts import distinct_tensors, set_tensors, weights_of

from tests.tiny_models import FAMILY_IDS, FAMILY_TASKS, padded_batch, scored, tiny_model

CLASSES = (0, 1, 2)


def small_model(family: str, task: TaskName, **fields: Any) -> Any:
    """Return half a tiny model: hidden 16, 2 heads of width 8, 24 units."""
    sizes = {"hidden_size": 16, "num_heads": 2, "intermediate_size": 24}
    return tiny_model(family, task, seed=2, **{**sizes, **fields})


def cloned(source: Any, target: Any, scores: Scores | None, *, num_layers: int = 2) -> InitResult:
    return subclone(
        weights_of(source),
        weights_of(target),
        layers=range(num_layers),
        scores=scores,
        class_order=CLASSES,
    )


def measured(model: Any, task: TaskName) -> Scores:
    batch = padded_batch(task, summary=FAMILIES[model.config.model_type].summary)
    return activation_scores(scored(model, task), [batch])


@pytest.mark.parametrize("family", FAMILIES)
def test_equal_sizes_give_the_source_bit_by_bit(family: str) -> None:
    task = next(iter(FAMILIES[family].heads))
    source, target = tiny_model(family, task, seed=1), tiny_model(family, task, seed=2)
    result = cloned(source, target, measured(source, task))
    assert result.state.keys() == result.provenance.keys() == distinct_tensors(target).keys()
    for name, tensor in distinct_tensors(source).items():
        assert torch.equal(result.state[name], tensor)
        assert result.provenance[name].how == "copied"


@pytest.mark.parametrize(("family", "task"), FAMILY_TASKS, ids=FAMILY_IDS)
def test_every_tensor_of_a_smaller_model_comes_from_the_source(
    family: str, task: TaskName
) -> None:
    source, target = tiny_model(family, task, seed=1), small_model(family, task)
    result = cloned(source, target, measured(source, task))
    assert all(origin.how.startswith(("top ", "copied")) for origin in result.provenance.values())
    set_tensors(target, result.state)
    batch = padded_batch(task, summary=FAMILIES[family].summary)
    assert bool(scored(target, task)(batch).logits_PK.isfinite().all())


def test_the_planted_units_are_found_and_scaled() -> None:
    source, target = tiny_model("llama", "causal_lm", seed=1), small_model("llama", "causal_lm")
    channels = torch.tensor([0, 3, 4, 7, 9, 12, 13, 14, 18, 20, 22, 25, 26, 28, 30, 31])
    units = torch.arange(1, 48, 2)
    heads = {0: [1, 3], 1: [0, 2]}
    for layer, block in enumerate(source.model.layers):
        dead = [head for head in range(4) if head not in heads[layer]]
        block.self_attn.v_proj.weight.data.view(4, 8, 32)[dead] *= 1e-3
        block.mlp.up_proj.weight.data[units - 1] *= 1e-3
    alive_D = torch.full((32,), 1e-3).index_fill(0, channels, 1)
    for name, parameter in source.named_parameters():
        if "norm" in name:
            parameter.data = alive_D.clone()
    result = cloned(source, target, measured(source, "causal_lm"))
    for layer, kept in heads.items():
        prefix = f"model.layers.{layer}"
        flat = torch.cat([torch.arange(8) + 8 * head for head in kept])
        theirs = source.model.layers[layer]
        query = theirs.self_attn.q_proj.weight[flat][:, channels] * math.sqrt(2)
        torch.testing.assert_close(result.state[f"{prefix}.self_attn.q_proj.weight"], query)
        output = theirs.self_attn.o_proj.weight[channels][:, flat] * math.sqrt(2)
        torch.testing.assert_close(result.state[f"{prefix}.self_attn.o_proj.weight"], output)
        down = theirs.mlp.down_proj.weight[channels][:, units] * math.sqrt(2)
        torch.testing.assert_close(result.state[f"{prefix}.mlp.down_proj.weight"], down)
        norm = result.state[f"{prefix}.input_layernorm.weight"]
        assert torch.equal(norm, torch.ones(16))
    embeddings = source.model.embed_tokens.weight[:, channels]
    assert torch.equal(result.state["model.embed_tokens.weight"], embeddings)


def test_the_provenance_counts_what_is_kept() -> None:
    source = tiny_model("llama", "causal_lm", settings={"num_key_value_heads": 2})
    target = small_model("llama", "causal_lm", settings={"num_key_value_heads": 1})
    result = cloned(source, target, measured(source, "causal_lm"))
    layer = "model.layers.1.self_attn"
    assert result.provenance[f"{layer}.q_proj.weight"].how == (
        "top 2 of 4 query heads, 16 of 32 hidden, times 1.414"
    )
    assert result.provenance[f"{layer}.k_proj.weight"].how == (
        "top 1 of 2 key value heads, 16 of 32 hidden, times 1.414"
    )
    assert result.provenance["model.norm.weight"].how == "top 16 of 32 hidden"


def test_query_heads_stay_with_the_key_value_head_they_read() -> None:
    source = tiny_model("qwen3", "causal_lm", settings={"num_key_value_heads": 2})
    target = small_model("qwen3", "causal_lm", settings={"num_key_value_heads": 1})
    scores = Scores(
        hidden_D=torch.arange(32.0),
        query_heads_NH=torch.tensor([[9.0, 0.0, 5.0, 5.0], [9.0, 9.0, 0.0, 0.0]]),
        key_value_heads_NG=torch.tensor([[1.0, 2.0], [2.0, 1.0]]),
        intermediate_NI=torch.ones(2, 48),
    )
    result = cloned(source, target, scores)
    for layer, heads in enumerate([slice(16, 32), slice(0, 16)]):
        mine = result.state[f"model.layers.{layer}.self_attn.q_proj.weight"]
        theirs = source.model.layers[layer].self_attn.q_proj.weight[heads, 16:]
        torch.testing.assert_close(mine, theirs * math.sqrt(2))


def test_a_tied_head_is_scaled_through_the_norm_before_it() -> None:
    source, target = tiny_model("bert", "masked_lm", seed=1), small_model("bert", "masked_lm")
    result = cloned(source, target, None)
    norm = "cls.predictions.transform.LayerNorm"
    theirs = source.cls.predictions.transform.LayerNorm
    for kind in ("weight", "bias"):
        expected_D = getattr(theirs, kind)[:16] * math.sqrt(2)
        torch.testing.assert_close(result.state[f"{norm}.{kind}"], expected_D)
    table = "bert.embeddings.word_embeddings.weight"
    assert torch.equal(result.state[table], distinct_tensors(source)[table][:, :16])


def test_what_was_padded_with_zeros_is_left_out_again() -> None:
    task: TaskName = "causal_lm"
    settings = {"num_key_value_heads": 2}
    original = tiny_model("llama", task, seed=1, settings=settings)
    large = tiny_model(
        "llama",
        task,
        seed=2,
        hidden_size=64,
        num_heads=8,
        intermediate_size=96,
        settings={"num_key_value_heads": 4},
    )
    sides = weights_of(original), weights_of(large)
    set_tensors(large, remap(*sides, layers=[0, 1], class_order=()).state)
    result = cloned(
        large, tiny_model("llama", task, seed=3, settings=settings), measured(large, task)
    )
    for name, tensor in distinct_tensors(original).items():
        is_read = result.provenance[name].how.endswith("times 1.414")
        assert is_read == (tensor.ndim == 2 and "embed" not in name)
        torch.testing.assert_close(result.state[name], tensor * (math.sqrt(2) if is_read else 1))


def test_only_the_layers_named_are_taken() -> None:
    source = tiny_model("gpt2", "causal_lm", num_layers=4, seed=1)
    target = tiny_model("gpt2", "causal_lm", seed=2)
    result = subclone(
        weights_of(source),
        weights_of(target),
        layers=[0, 3],
        scores=measured(source, "causal_lm"),
        class_order=(),
    )
    for layer, followed in enumerate([0, 3]):
        mine = result.state[f"transformer.h.{layer}.mlp.c_fc.weight"]
        assert torch.equal(mine, source.transformer.h[followed].mlp.c_fc.weight)


def test_a_plan_needs_neither_weights_nor_scores() -> None:
    with torch.device("meta"):
        source, target = tiny_model("llama", "causal_lm"), small_model("llama", "causal_lm")
    plan = cloned(source, target, None)
    real = tiny_model("llama", "causal_lm"), small_model("llama", "causal_lm")
    assert plan.provenance == cloned(*real, measured(real[0], "causal_lm")).provenance
    for name, tensor in distinct_tensors(real[1]).items():
        assert plan.state[name].is_meta
        assert plan.state[name].shape == tensor.shape


def test_other_classes_leave_the_head_random() -> None:
    source, target = (tiny_model("bert", "sequence_classification", seed=seed) for seed in (1, 2))
    result = subclone(
        weights_of(source), weights_of(target), layers=[0, 1], scores=None, class_order=None
    )
    assert torch.equal(result.state["classifier.weight"], target.classifier.weight)
    assert result.provenance["classifier.weight"].source is None


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"num_heads": 4}, "a head of the student is 4 wide, of the source 8"),
        ({"hidden_size": 64, "num_heads": 8}, "hidden_size is 64, the source's 32"),
    ],
)
def test_a_target_that_does_not_fit_is_refused(fields: dict[str, Any], problem: str) -> None:
    source = tiny_model("bert", "masked_lm")
    with pytest.raises(ModelError, match=problem):
        cloned(source, small_model("bert", "masked_lm", **fields), None)
