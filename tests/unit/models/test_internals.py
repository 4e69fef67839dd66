"""What is recorded of the layers is what the models compute with, and changes nothing."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from raykd.batch import AttentionInputs, Batch, LayersWanted
from raykd.config.schema.run import TaskName
from raykd.errors import ModelError
from raykd.models.families import FAMILIES
from raykd.models.internals import recording, require_product_scores

from tests.tiny_models import VOCAB_SIZE, padded_batch, scored, tiny_model

TASK: TaskName = "token_classification"
EVERYTHING = LayersWanted(hidden=(0, 1, 2), attention=(0, 1))
GROUPED = {"num_key_value_heads": 2}
DEBERTA_V3 = {
    "pos_att_type": "p2c|c2p",
    "position_biased_input": False,
    "position_buckets": 8,
    "relative_attention": True,
    "share_att_key": True,
}
CASES = [
    *((family, {}) for family in FAMILIES),
    *((family, GROUPED) for family in ("llama", "mistral", "qwen2", "qwen3")),
]
IDS = [f"{family}-grouped" if settings else family for family, settings in CASES]


def eager_outputs(model: Any, batch: Batch) -> Any:
    """Return what transformers says of the layers, with attention weights in memory."""
    eager = copy.deepcopy(model)
    if model.config.model_type != "deberta-v2":
        eager.set_attn_implementation("eager")
    return eager(
        input_ids=batch.input_ids_BL,
        attention_mask=batch.attention_mask_BL,
        output_hidden_states=True,
        output_attentions=True,
    )


def probabilities(inputs: AttentionInputs, batch: Batch) -> torch.Tensor:
    """Return the attention weights that follow from what was recorded, [B, H, L, L]."""
    groups = inputs.query_BHLE.shape[1] // inputs.key_BGLE.shape[1]
    key_BHLE = inputs.key_BGLE.repeat_interleave(groups, dim=1)
    scores_BHLL = inputs.query_BHLE @ key_BHLE.mT * inputs.scaling
    sees_BLL = batch.is_token_BL[:, None, :].expand(-1, scores_BHLL.shape[-1], -1)
    if inputs.is_causal:
        sees_BLL = sees_BLL.tril()
    return scores_BHLL.masked_fill(~sees_BLL[:, None], -torch.inf).softmax(-1)


@pytest.mark.parametrize(("family", "settings"), CASES, ids=IDS)
def test_recorded_queries_and_keys_give_the_models_own_attention(
    family: str, settings: dict[str, Any]
) -> None:
    model, batch = tiny_model(family, TASK, settings=settings), padded_batch(TASK)
    expected = eager_outputs(model, batch).attentions
    recorded = scored(model, TASK)(batch, LayersWanted(attention=(1, 0))).attention
    assert sorted(recorded) == [0, 1]
    for number, inputs in recorded.items():
        assert inputs.key_BGLE.shape[1] == (2 if settings else 4)
        torch.testing.assert_close(
            probabilities(inputs, batch).transpose(1, 2)[batch.is_token_BL],
            expected[number].transpose(1, 2)[batch.is_token_BL],
            atol=1e-5,
            rtol=1e-5,
        )


ATTENTION_OUTPUTS = {
    "bert": "attention.output.dense",
    "deberta-v2": "attention.output.dense",
    "distilbert": "attention.out_lin",
    "gpt2": "attn.c_proj",
    "modernbert": "attn.Wo",
    "roberta": "attention.output.dense",
    "xlm-roberta": "attention.output.dense",
}


@pytest.mark.parametrize(("family", "settings"), CASES, ids=IDS)
def test_recorded_values_weighted_are_what_the_attention_puts_out(
    family: str, settings: dict[str, Any]
) -> None:
    model, batch = tiny_model(family, TASK, settings=settings), padded_batch(TASK)
    row = FAMILIES[family]
    layer = model.get_submodule(f"{row.backbone}.{row.layers}.1")
    projection = layer.get_submodule(ATTENTION_OUTPUTS.get(family, "self_attn.o_proj"))
    read: list[torch.Tensor] = []
    handle = projection.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    recorded = scored(model, TASK)(batch, EVERYTHING).attention[1]
    handle.remove()
    groups = recorded.query_BHLE.shape[1] // recorded.value_BGLE.shape[1]
    value_BHLE = recorded.value_BGLE.repeat_interleave(groups, dim=1)
    attended_BLD = (probabilities(recorded, batch) @ value_BHLE).transpose(1, 2).flatten(2)
    torch.testing.assert_close(
        attended_BLD[batch.is_token_BL], read[0][batch.is_token_BL], atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_hidden_states_are_those_of_transformers_at_the_tokens(family: str) -> None:
    model, batch = tiny_model(family, TASK), padded_batch(TASK)
    expected = eager_outputs(model, batch).hidden_states
    outputs = scored(model, TASK)(batch, LayersWanted(hidden=(0, 2)))
    assert sorted(outputs.hidden_states_TD) == [0, 2]
    for number, hidden_TD in outputs.hidden_states_TD.items():
        expected_TD = expected[number][batch.is_token_BL]
        assert len(hidden_TD) == batch.num_tokens
        torch.testing.assert_close(hidden_TD, expected_TD, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_recording_changes_no_bit_of_the_scores_and_ends(family: str) -> None:
    model, batch = tiny_model(family, TASK), padded_batch(TASK)
    implementation = model.config._attn_implementation
    read = scored(model, TASK)
    before = read(batch)
    during = read(batch, EVERYTHING)
    after = read(batch)
    assert torch.equal(during.logits_PK, before.logits_PK)
    assert torch.equal(after.logits_PK, before.logits_PK)
    assert (after.hidden_states_TD, after.attention) == ({}, {})
    assert model.config._attn_implementation == implementation
    if family == "deberta-v2":
        assert not any(module._forward_hooks for module in model.deberta.encoder.layer.modules())


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_flow_through_what_is_recorded(family: str) -> None:
    model, batch = tiny_model(family, TASK), padded_batch(TASK)
    outputs = scored(model.train(), TASK)(batch, EVERYTHING)
    first_layer = model.get_submodule(f"{FAMILIES[family].backbone}.{FAMILIES[family].layers}.0")
    parameters = list(first_layer.parameters())
    recorded = outputs.attention[1]
    for tensor in (
        recorded.query_BHLE,
        recorded.key_BGLE,
        recorded.value_BGLE,
        outputs.hidden_states_TD[1],
    ):
        gradients = torch.autograd.grad(
            tensor.square().sum(), parameters, retain_graph=True, materialize_grads=True
        )
        assert any(gradient.any() for gradient in gradients)


@pytest.mark.parametrize("family", FAMILIES)
def test_activation_checkpointing_leaves_recorded_gradients_as_they_are(family: str) -> None:
    model, batch = tiny_model(family, TASK, dropout=0.0), padded_batch(TASK)
    read = scored(model.train(), TASK)
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            model.activation_checkpointing_enable({"use_reentrant": False})
        outputs = read(batch, EVERYTHING)
        query_BHLE = outputs.attention[0].query_BHLE
        loss = query_BHLE.square().sum() + outputs.hidden_states_TD[1].square().sum()
        (loss + outputs.logits_PK.sum()).backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
        model.zero_grad(set_to_none=True)
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(checkpointed, plain)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_without_padding_or_without_rows_is_recorded(family: str) -> None:
    read = scored(tiny_model(family, TASK), TASK)
    batch = padded_batch(TASK)
    ids_BL = batch.input_ids_BL.clamp(min=5)
    ones_BL = torch.ones_like(ids_BL)
    full = replace(batch, input_ids_BL=ids_BL, attention_mask_BL=ones_BL, num_tokens=33)
    with_mask = read(full, EVERYTHING)
    without = read(replace(full, attention_mask_BL=None), EVERYTHING)
    torch.testing.assert_close(without.hidden_states_TD[1], with_mask.hidden_states_TD[1])
    torch.testing.assert_close(without.attention[1].key_BGLE, with_mask.attention[1].key_BGLE)
    idle = replace(
        batch,
        input_ids_BL=torch.zeros((1, 1), dtype=torch.int64),
        attention_mask_BL=None,
        positions_P=torch.zeros(0, dtype=torch.int64),
        num_tokens=0,
    )
    assert read(idle, EVERYTHING).hidden_states_TD[1].shape == (0, 32)


def test_projections_of_a_deberta_with_relative_positions_are_those_of_its_tokens() -> None:
    model = tiny_model("deberta-v2", TASK, settings=DEBERTA_V3)
    outputs = scored(model, TASK)(padded_batch(TASK), EVERYTHING)
    hidden_BLD = eager_outputs(model, padded_batch(TASK)).hidden_states[1]
    attention = model.deberta.encoder.layer[1].attention.self
    for projection, part in [
        (attention.query_proj, outputs.attention[1].query_BHLE),
        (attention.key_proj, outputs.attention[1].key_BGLE),
        (attention.value_proj, outputs.attention[1].value_BGLE),
    ]:
        torch.testing.assert_close(part.transpose(1, 2).flatten(2), projection(hidden_BLD))
    assert outputs.attention[1].scaling == (8 * 3) ** -0.5


def test_scores_with_relative_positions_are_refused() -> None:
    relative = tiny_model("deberta-v2", TASK, settings=DEBERTA_V3).config
    with pytest.raises(ModelError, match=r"x: a deberta-v2.*use losses\.attention_relations"):
        require_product_scores(relative, where="x")
    require_product_scores(tiny_model("deberta-v2", TASK).config, where="x")
    require_product_scores(tiny_model("bert", TASK).config, where="x")


def test_other_ways_of_attention_are_refused_and_left_alone() -> None:
    model = tiny_model("bert", TASK)
    model.set_attn_implementation("eager")
    layers = model.bert.encoder.layer
    with (
        pytest.raises(ModelError, match="computes its attention by 'eager'"),
        recording(model.config, layers, (0,)),
    ):
        pass
    assert model.config._attn_implementation == "eager"


def test_a_failed_forward_ends_the_recording() -> None:
    model, batch = tiny_model("bert", TASK), padded_batch(TASK)
    unknown_token = replace(batch, input_ids_BL=batch.input_ids_BL + VOCAB_SIZE)
    read = scored(model, TASK)
    with pytest.raises(IndexError):
        read(unknown_token, EVERYTHING)
    assert model.config._attn_implementation == "sdpa"
