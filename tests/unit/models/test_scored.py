"""Scores at positions are those of the model's own forward, for every family and task."""

from dataclasses import replace

import pytest
import torch
from raykd.batch import LayersWanted
from raykd.config.schema.run import TaskName
from raykd.errors import ModelError
from raykd.models.families import FAMILIES, family_of, head_of
from raykd.models.scored import ScoredModel

from tests.tiny_models import (
    FAMILY_IDS,
    FAMILY_TASKS,
    LABELS,
    VOCAB_SIZE,
    padded_batch,
    scored,
    tiny_model,
)


def own_logits(model: torch.nn.Module, task: TaskName, summary: str) -> torch.Tensor:
    """Return what transformers' forward says, [P, K]."""
    batch = padded_batch(task, summary=summary)
    logits: torch.Tensor = model(
        input_ids=batch.input_ids_BL, attention_mask=batch.attention_mask_BL
    ).logits
    if task == "sequence_classification":
        return logits
    return logits.flatten(0, 1)[batch.positions_P]


@pytest.mark.parametrize(("family", "task"), FAMILY_TASKS, ids=FAMILY_IDS)
def test_scores_and_gradients_are_the_models_own(family: str, task: TaskName) -> None:
    summary = FAMILIES[family].summary
    model = tiny_model(family, task)
    expected_PK = own_logits(model, task, summary)
    (expected_PK**2).sum().backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad(set_to_none=True)

    logits_PK = scored(model, task)(padded_batch(task, summary=summary)).logits_PK
    torch.testing.assert_close(logits_PK, expected_PK, atol=1e-5, rtol=1e-5)
    (logits_PK**2).sum().backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == (gradients[name] is None), name
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad, gradients[name], atol=1e-4, rtol=1e-4)


DEBERTA_V3 = {
    "conv_kernel_size": 3,
    "legacy": False,
    "norm_rel_ebd": "layer_norm",
    "pos_att_type": "p2c|c2p",
    "position_biased_input": False,
    "position_buckets": 8,
    "relative_attention": True,
    "share_att_key": True,
}


@pytest.mark.parametrize("task", FAMILIES["deberta-v2"].heads)
def test_scores_of_a_deberta_v3_are_its_own(task: TaskName) -> None:
    model = tiny_model("deberta-v2", task, settings=DEBERTA_V3)
    expected_PK = own_logits(model, task, "first")
    logits_PK = scored(model, task)(padded_batch(task)).logits_PK
    torch.testing.assert_close(logits_PK, expected_PK, atol=1e-5, rtol=1e-5)


def test_a_modernbert_may_classify_by_the_mean_over_its_tokens() -> None:
    task: TaskName = "sequence_classification"
    model = tiny_model("modernbert", task, settings={"classifier_pooling": "mean"})
    expected_PK = own_logits(model, task, "first")
    logits_PK = scored(model, task)(padded_batch(task)).logits_PK
    torch.testing.assert_close(logits_PK, expected_PK, atol=1e-5, rtol=1e-5)
    model.config.classifier_pooling = "cls"
    assert not torch.allclose(own_logits(model, task, "first"), expected_PK)


def test_segments_reach_only_models_that_have_them() -> None:
    batch = padded_batch("token_classification")
    types_BL = (torch.arange(11) > 3).long().expand(3, 11)
    typed = replace(batch, token_type_ids_BL=types_BL)
    for family, reads_them in [("bert", True), ("distilbert", False), ("gpt2", False)]:
        model = tiny_model(family, "token_classification")
        logits_PK = scored(model, "token_classification")(typed).logits_PK
        without_PK = scored(model, "token_classification")(batch).logits_PK
        assert torch.equal(logits_PK, without_PK) != reads_them
        if reads_them:
            own_BLK = model(
                input_ids=typed.input_ids_BL,
                attention_mask=typed.attention_mask_BL,
                token_type_ids=types_BL,
            ).logits
            torch.testing.assert_close(logits_PK, own_BLK.flatten(0, 1)[typed.positions_P])


@pytest.mark.parametrize("family", FAMILIES)
def test_no_mask_is_a_mask_of_ones(family: str) -> None:
    batch = padded_batch("token_classification")
    ids_BL = batch.input_ids_BL.clamp(min=5)
    full = replace(batch, input_ids_BL=ids_BL, attention_mask_BL=torch.ones_like(ids_BL))
    model = scored(tiny_model(family, "token_classification"), "token_classification")
    torch.testing.assert_close(
        model(replace(full, attention_mask_BL=None)).logits_PK, model(full).logits_PK
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_is_trained(family: str) -> None:
    """Data parallelism waits for the gradient of every parameter."""
    for task in FAMILIES[family].heads:
        model = tiny_model(family, task)
        batch = padded_batch(task, summary=FAMILIES[family].summary)
        scored(model, task)(batch).logits_PK.sum().backward()
        assert [name for name, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(("family", "task"), FAMILY_TASKS, ids=FAMILY_IDS)
def test_padding_changes_no_score(family: str, task: TaskName) -> None:
    batch = padded_batch(task, summary=FAMILIES[family].summary)
    model = scored(tiny_model(family, task), task)
    wide_ids_BL = torch.nn.functional.pad(batch.input_ids_BL, (0, 6))
    assert batch.attention_mask_BL is not None
    rows_P, columns_P = batch.examples_P, batch.positions_P % batch.input_ids_BL.shape[1]
    wide = type(batch)(
        input_ids_BL=wide_ids_BL,
        attention_mask_BL=torch.nn.functional.pad(batch.attention_mask_BL, (0, 6)),
        token_type_ids_BL=None,
        positions_P=rows_P * wide_ids_BL.shape[1] + columns_P,
        labels_P=batch.labels_P,
        languages_B=batch.languages_B,
        row_ids_B=batch.row_ids_B,
        epochs_B=batch.epochs_B,
        num_tokens=batch.num_tokens,
    )
    torch.testing.assert_close(model(wide).logits_PK, model(batch).logits_PK, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", [name for name in FAMILIES if FAMILIES[name].summary == "last"])
@pytest.mark.parametrize("pad_id", [None, 0, 9])
def test_a_decoder_classifies_by_the_token_that_transformers_finds(
    family: str, pad_id: int | None
) -> None:
    """Texts that end in the token that pads others are classified by the one before."""
    task: TaskName = "sequence_classification"
    model = tiny_model(family, task)
    model.config.pad_token_id = pad_id
    batch = padded_batch(task, summary="last")
    for row, length in enumerate([11, 7, 9]):
        batch.input_ids_BL[row, length - 2 : length] = 9
    for row, length in enumerate([11, 7, 9]):
        expected_1K = model(input_ids=batch.input_ids_BL[row : row + 1, :length]).logits
        torch.testing.assert_close(
            scored(model, task)(batch).logits_PK[row : row + 1], expected_1K, atol=1e-5, rtol=1e-5
        )


def test_padded_vocabulary_rows_are_cut_off() -> None:
    model = tiny_model("bert", "masked_lm")
    narrow = ScoredModel(model, task="masked_lm", num_classes=VOCAB_SIZE - 7)
    batch = padded_batch("masked_lm")
    expected_PK = scored(model, "masked_lm")(batch).logits_PK[:, : VOCAB_SIZE - 7]
    assert torch.equal(narrow(batch).logits_PK, expected_PK)


def test_too_small_vocabularies_and_other_classes_are_refused() -> None:
    with pytest.raises(ModelError, match=r"vocabulary of 67, but the data's tokenizer has 68"):
        ScoredModel(tiny_model("bert", "masked_lm"), task="masked_lm", num_classes=68)
    model = tiny_model("bert", "sequence_classification")
    with pytest.raises(ModelError, match=rf"scores {len(LABELS)} classes, but the data has 5"):
        ScoredModel(model, task="sequence_classification", num_classes=5)


def test_scores_come_in_the_order_of_the_datas_classes() -> None:
    task: TaskName = "token_classification"
    model, batch = tiny_model("bert", task), padded_batch(task)
    own_PK = scored(model, task)(batch).logits_PK
    reordered = ScoredModel(model, task=task, num_classes=3, class_order=(2, 0, 1))
    assert torch.equal(reordered(batch).logits_PK, own_PK[:, [2, 0, 1]])
    assert torch.equal(reordered.scores(reordered.hidden(batch)).logits(), own_PK[:, [2, 0, 1]])
    assert reordered.state_dict().keys() == scored(model, task).state_dict().keys()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("scores", ["first", "last"])
def test_an_example_is_classified_by_the_token_of_the_models_own_family(
    family: str, scores: str
) -> None:
    task: TaskName = "sequence_classification"
    model = tiny_model(family, task)
    expected_PK = own_logits(model, task, FAMILIES[family].summary)
    batch = padded_batch(task, summary=scores)
    torch.testing.assert_close(
        scored(model, task)(batch).logits_PK, expected_PK, atol=1e-5, rtol=1e-5
    )
    some = replace(batch, positions_P=batch.positions_P[[2, 0]])
    torch.testing.assert_close(
        scored(model, task)(some).logits_PK, expected_PK[[2, 0]], atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_of_no_examples_has_no_scores_but_a_gradient(family: str) -> None:
    task: TaskName = "sequence_classification"
    model = tiny_model(family, task)
    idle = replace(
        padded_batch(task),
        input_ids_BL=torch.zeros((1, 1), dtype=torch.int64),
        attention_mask_BL=None,
        positions_P=torch.zeros(0, dtype=torch.int64),
        languages_B=torch.zeros(1, dtype=torch.int64),
        num_tokens=0,
    )
    logits_PK = scored(model, task)(idle).logits_PK
    assert logits_PK.shape == (0, len(LABELS))
    logits_PK.sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert not parameter.grad.any(), name


def test_unknown_families_and_tasks_say_what_there_is() -> None:
    with pytest.raises(ModelError, match=r"x: 't5' is not a family raykd knows.*'bert'"):
        family_of("t5", where="x")
    with pytest.raises(ModelError, match=r"gpt2 models serve \['causal_lm'.*not masked_lm"):
        head_of("gpt2", "masked_lm", where="x")


def test_layers_are_read_without_a_look_at_numbers_on_the_device() -> None:
    task: TaskName = "masked_lm"
    # Tensors without numbers: whoever asks for one fails. Unpadded, for transformers itself looks
    # at what is padded.
    batch = replace(padded_batch(task), attention_mask_BL=None, num_tokens=33)
    model = scored(tiny_model("bert", task), task).to("meta")
    outputs = model(batch.to(torch.device("meta")), LayersWanted(hidden=(1,)))
    assert outputs.hidden_states_TD[1].shape == (33, model.model.config.hidden_size)
    assert outputs.hidden_PD.is_meta
