"""Activations are means over real tokens of what the layers' linear maps read."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from raykd.axes import Scores
from raykd.batch import Batch
from raykd.config.schema.run import TaskName
from raykd.models.activations import activation_scores
from raykd.models.families import FAMILIES

from tests.tiny_models import padded_batch, scored, tiny_model

CAUSAL_LM: TaskName = "causal_lm"
MASKED_LM: TaskName = "masked_lm"
CHANNELS = torch.tensor([3, 4, 17, 30])


def row_alone(batch: Batch, row: int) -> Batch:
    """Return one example without its padding."""
    length = int(batch.is_token_BL[row].sum())
    return replace(
        batch,
        input_ids_BL=batch.input_ids_BL[row : row + 1, :length],
        attention_mask_BL=None,
        positions_P=torch.tensor([0]),
        labels_P=torch.tensor([0]),
        num_tokens=length,
    )


def tensors(scores: Scores) -> dict[str, torch.Tensor]:
    return {
        "hidden": scores.hidden_D,
        "query_heads": scores.query_heads_NH,
        "key_value_heads": scores.key_value_heads_NG,
        "intermediate": scores.intermediate_NI,
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_a_score_for_every_unit(family: str) -> None:
    task = next(iter(FAMILIES[family].heads))
    model = scored(tiny_model(family, task), task)
    scores = activation_scores(model, [padded_batch(task)])
    groups = getattr(model.model.config, "num_key_value_heads", None) or 4
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors(scores).items()}
    assert shapes == {
        "hidden": (32,),
        "query_heads": (2, 4),
        "key_value_heads": (2, groups),
        "intermediate": (2, 48),
    }
    for tensor in tensors(scores).values():
        assert tensor.dtype == torch.float64
        assert bool((tensor > 0).all())


def test_hidden_scores_are_the_normalised_inputs_of_the_maps() -> None:
    model = scored(tiny_model("gpt2", "causal_lm"), "causal_lm")
    batch = padded_batch("causal_lm")
    read: list[torch.Tensor] = []
    for name, module in model.model.named_modules():
        if name.endswith(("ln_1", "ln_2")):  # each feeds one linear map
            module.register_forward_hook(lambda _module, _inputs, output: read.append(output))
    scores = activation_scores(model, [batch])
    assert len(read) == 4
    means = [tensor[batch.is_token_BL].double().abs().mean(dim=0) for tensor in read]
    expected_D = torch.stack([mean_D / mean_D.mean() for mean_D in means]).sum(dim=0)
    torch.testing.assert_close(scores.hidden_D, expected_D, rtol=1e-5, atol=0)


def test_intermediate_scores_are_the_mean_activations() -> None:
    model = scored(tiny_model("bert", "masked_lm"), "masked_lm")
    batch = padded_batch("masked_lm")
    read: list[torch.Tensor] = []
    for layer in model.layers:
        intermediate = layer.get_submodule("intermediate")
        intermediate.register_forward_hook(lambda _module, _in, output: read.append(output))
    scores = activation_scores(model, [batch])
    expected_NI = torch.stack([t[batch.is_token_BL].double().abs().mean(dim=0) for t in read])
    torch.testing.assert_close(scores.intermediate_NI, expected_NI, rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("bert", {}),
        ("llama", {}),
        # The table of relative positions, which is no activation, stays alive: as many rows as
        # tokens, read by the same maps; or more, read by maps of its own.
        ("deberta-v2", {"share_att_key": True, "max_relative_positions": 5}),
        ("deberta-v2", {"share_att_key": False, "max_relative_positions": 16}),
    ],
)
def test_dead_channels_score_nothing(family: str, settings: dict[str, Any]) -> None:
    task = next(iter(FAMILIES[family].heads))
    if family == "deberta-v2":
        settings = {**settings, "relative_attention": True, "pos_att_type": ["c2p", "p2c"]}
    model = tiny_model(family, task, settings=settings)
    keep_only(model, CHANNELS)
    alone = row_alone(padded_batch(task), 0)
    even = replace(alone, input_ids_BL=alone.input_ids_BL[:, :10], num_tokens=10)
    scores = activation_scores(scored(model, task), [even])
    assert scores.hidden_D.nonzero().squeeze(-1).tolist() == CHANNELS.tolist()


def keep_only(model: Any, channels: torch.Tensor) -> None:
    """Let every norm of the backbone write to some channels only."""
    alive_D = torch.zeros(32).index_fill(0, channels, 1)
    for name, parameter in model.named_parameters():
        if "norm" in name.lower() and parameter.shape == (32,):
            parameter.data.mul_(alive_D)


def test_dead_heads_and_units_score_nothing_in_their_layer() -> None:
    task = CAUSAL_LM
    model = tiny_model("llama", task, settings={"num_key_value_heads": 2})
    first, last = model.model.layers
    first.self_attn.v_proj.weight.data[:8] = 0  # key-value head 0, of width 8
    last.mlp.up_proj.weight.data[5] = 0
    scores = activation_scores(scored(model, task), [padded_batch(task)])
    assert (scores.query_heads_NH == 0).tolist() == [[True, True, False, False], [False] * 4]
    assert (scores.key_value_heads_NG == 0).tolist() == [[True, False], [False, False]]
    assert (scores.intermediate_NI == 0).nonzero().tolist() == [[1, 5]]


@pytest.mark.parametrize("family", ["roberta", "modernbert", "qwen3"])
def test_padding_and_the_grouping_of_examples_do_not_count(family: str) -> None:
    task = next(iter(FAMILIES[family].heads))
    model, batch = scored(tiny_model(family, task), task), padded_batch(task)
    together = tensors(activation_scores(model, [batch]))
    alone = tensors(activation_scores(model, [row_alone(batch, row) for row in (2, 0, 1)]))
    for name, expected in together.items():
        torch.testing.assert_close(alone[name], expected, rtol=1e-5, atol=1e-7)


def test_the_model_is_left_as_it_was() -> None:
    task = MASKED_LM
    model, batch = scored(tiny_model("bert", task), task).train(), padded_batch(task)
    first = tensors(activation_scores(model, [batch]))
    second = tensors(activation_scores(model, [batch]))
    assert all(torch.equal(first[name], second[name]) for name in first)  # dropout is off
    assert model.training
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_no_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="the batches have none"):
        activation_scores(scored(tiny_model("bert", "masked_lm"), "masked_lm"), [])
