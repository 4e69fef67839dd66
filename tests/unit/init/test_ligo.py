"""Before it learns, a growth operator is the function preserving expansion."""

from typing import Any

import pytest
import torch
from raykd.config.schema.run import TaskName
from raykd.errors import ModelError
from raykd.init.expand import expand
from raykd.init.ligo import GrowthOperator
from raykd.layer_map import growth_map
from raykd.models.families import FAMILIES
from raykd.models.parts import distinct_tensors, set_tensors, weights_of

from tests.tiny_models import padded_batch, scored, tiny_model

CAUSAL_LM: TaskName = "causal_lm"
TOKENS: TaskName = "token_classification"
LARGE = {"hidden_size": 64, "num_heads": 8, "intermediate_size": 96}


def operator_of(source: Any, target: Any, **changes: Any) -> GrowthOperator:
    layers = growth_map(
        "stack",
        num_student_layers=target.config.num_hidden_layers,
        num_source_layers=source.config.num_hidden_layers,
    )
    options: dict[str, Any] = {"layers": layers, "class_order": (0, 1, 2), **changes}
    return GrowthOperator(
        weights_of(source),
        weights_of(target),
        generator=torch.Generator().manual_seed(0),
        **options,
    )


def models(family: str, *, num_layers: int = 4, **fields: Any) -> tuple[Any, Any]:
    """Return a small source of 2 layers and a model twice as wide."""
    task = next(iter(FAMILIES[family].heads))
    source = tiny_model(family, task, seed=1)
    return source, tiny_model(family, task, num_layers=num_layers, seed=2, **{**LARGE, **fields})


@pytest.mark.parametrize("family", FAMILIES)
def test_it_starts_at_the_expansion(family: str) -> None:
    source, target = models(family)
    expanded = expand(
        weights_of(source),
        weights_of(target),
        width="fpi",
        depth="stack",
        class_order=(0, 1, 2),
        generator=torch.Generator().manual_seed(0),
    )
    result = operator_of(source, target).result()
    assert result.provenance.keys() == result.state.keys() == expanded.state.keys()
    for name, tensor in expanded.state.items():
        torch.testing.assert_close(result.state[name], tensor, rtol=0, atol=1e-6)
        assert result.provenance[name].source == expanded.provenance[name].source


@pytest.mark.parametrize("family", FAMILIES)
def test_at_equal_depth_it_starts_at_the_sources_function(family: str) -> None:
    task = next(iter(FAMILIES[family].heads))
    source, target = models(family, num_layers=2)
    set_tensors(target, operator_of(source, target).result().state)
    batch = padded_batch(task, summary=FAMILIES[family].summary)
    expected_PK = scored(source, task)(batch).logits_PK
    logits_PK = scored(target, task)(batch).logits_PK
    torch.testing.assert_close(logits_PK, expected_PK, rtol=0, atol=1e-4)


def test_grouped_queries_grow_with_their_key_value_head() -> None:
    task = CAUSAL_LM
    source = tiny_model("qwen3", task, seed=1, settings={"num_key_value_heads": 2})
    target = tiny_model("qwen3", task, seed=2, **LARGE, settings={"num_key_value_heads": 4})
    set_tensors(target, operator_of(source, target).result().state)
    batch = padded_batch(task)
    expected_PK = scored(source, task)(batch).logits_PK
    torch.testing.assert_close(
        scored(target, task)(batch).logits_PK, expected_PK, rtol=0, atol=1e-4
    )


def test_the_parameters_are_operators_alone() -> None:
    source, target = models("llama")
    operator = operator_of(source, target)
    shapes = {name: tuple(parameter.shape) for name, parameter in operator.named_parameters()}
    blends = {name: shapes.pop(name) for name in list(shapes) if name.startswith("blends")}
    assert set(blends.values()) == {(4, 2)}  # the target's layers by the source's
    assert len(blends) == len(source.model.layers[0].state_dict())
    groups = weights_of(source).widths.num_key_value_heads
    large_groups = weights_of(target).widths.num_key_value_heads
    assert shapes == {
        "out_operators.hidden": (64, 32),
        "out_operators.query_heads": (8, 4),
        "out_operators.key_value_heads": (large_groups, groups),
        "out_operators.intermediate": (96, 48),
        "in_operators.hidden": (64, 32),
        "in_operators.query_heads": (8, 4),
        "in_operators.intermediate": (96, 48),
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_matters(family: str) -> None:
    source, target = models(family)
    operator = operator_of(source, target)
    sum(tensor.square().sum() for tensor in operator().values()).backward()
    for name, parameter in operator.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.any()), name
    assert all(tensor.grad is None for tensor in source.parameters())


def test_a_grown_tensor_is_the_formula() -> None:
    source, target = models("bert")
    operator = operator_of(source, target)
    torch.manual_seed(3)
    for parameter in operator.parameters():
        torch.nn.init.normal_(parameter)
    name = "bert.encoder.layer.{}.attention.output.dense.weight"
    weights = distinct_tensors(source)
    kind = next(
        index
        for index, kind in enumerate(k for k in operator._kinds if k.sources)
        if kind.sources[0] == name.format(0)
    )
    mixed = sum(
        share * weights[name.format(layer)].double()
        for layer, share in enumerate(operator.blends[kind][3].double())
    )
    heads = operator.in_operators["query_heads"].double()
    read = torch.kron(heads, torch.eye(8, dtype=torch.float64))
    expected = operator.out_operators["hidden"].double() @ mixed @ read.T
    torch.testing.assert_close(operator()[name.format(3)].double(), expected, rtol=1e-5, atol=1e-4)


def test_rows_that_the_source_lacks_keep_their_own_start() -> None:
    settings = {"vocab_size": 80, "max_position_embeddings": 520}
    source, target = models("bert", settings=settings)
    own = {name: tensor.clone() for name, tensor in distinct_tensors(target).items()}
    result = operator_of(source, target).result()
    for table, rows in {"word": 67, "position": 512}.items():
        name = f"bert.embeddings.{table}_embeddings.weight"
        assert torch.equal(result.state[name][rows:], own[name][rows:])
        assert not torch.equal(result.state[name][:rows], own[name][:rows])
    bias = "cls.predictions.bias"
    assert torch.equal(result.state[bias][67:], own[bias][67:])
    assert torch.equal(result.state[bias][:67], distinct_tensors(source)[bias])


def test_other_classes_leave_the_head_at_its_start() -> None:
    task = TOKENS
    source, target = tiny_model("llama", task, seed=1), tiny_model("llama", task, seed=2, **LARGE)
    result = operator_of(source, target, class_order=None).result()
    assert torch.equal(result.state["score.weight"], target.score.weight)
    assert result.provenance["score.weight"].source is None
    ordered = operator_of(source, target, class_order=(2, 0, 1)).result()
    expected = operator_of(source, target).result().state["score.weight"][[2, 0, 1]]
    torch.testing.assert_close(ordered.state["score.weight"], expected)


def test_a_plan_needs_no_weights() -> None:
    with torch.device("meta"):
        source, target = models("modernbert")
    result = operator_of(source, target).result()
    assert all(tensor.is_meta for tensor in result.state.values())
    assert result.provenance == operator_of(*models("modernbert")).result().provenance
    # The source's first layer has no such norm.
    assert result.provenance["model.layers.2.attn_norm.weight"].source is None
    layer = result.provenance["model.layers.3.attn_norm.weight"]
    assert (layer.source, layer.how) == (
        "model.layers.1.attn_norm.weight",
        "learned growth of all layers",
    )


def test_half_precision_stays_and_is_grown_in_float32() -> None:
    source, target = models("gpt2")
    expected = operator_of(source, target).result().state
    result = operator_of(source, target.bfloat16()).result().state
    for name, tensor in expected.items():
        assert result[name].dtype == torch.bfloat16
        assert torch.equal(result[name], tensor.bfloat16())


def test_a_narrower_target_is_refused() -> None:
    source, target = models("bert", num_layers=2)
    with pytest.raises(ModelError, match="a student that grows is nowhere narrower"):
        operator_of(target, source)
