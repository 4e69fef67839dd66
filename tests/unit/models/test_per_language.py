"""Every language has a head of its own over one encoder, in every family."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from raykd.batch import Batch, LayersWanted
from raykd.config.schema.run import TaskName
from raykd.errors import ModelError
from raykd.models.families import FAMILIES
from raykd.models.per_language import PerLanguageModel, single_language_model, with_languages
from raykd.models.scored import ScoredModel

from tests.tiny_models import FAMILY_TASKS, LABELS, padded_batch, tiny_model

LANGUAGES = ("en", "to", "zh-Hant.x")  # "to" is a method of modules, and Tongan
DATA_LANGUAGES = ("en", "fr", "to", "zh-Hant.x")
CASES = [(family, task) for family, task in FAMILY_TASKS if not task.endswith("_lm")]
IDS = [f"{family}-{task}" for family, task in CASES]
TASK: TaskName = "sequence_classification"


def shared_model(family: str, task: TaskName = TASK, *, seed: int = 0) -> PerLanguageModel:
    """Return a model whose heads all differ."""
    model = PerLanguageModel(tiny_model(family, task, seed=seed), LANGUAGES)
    for parameter in model.heads.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model


def read(model: Any, task: TaskName = TASK) -> ScoredModel:
    return ScoredModel(model, task=task, num_classes=len(LABELS), languages=DATA_LANGUAGES)


def batch_of(task: TaskName, family: str, *languages: int) -> Batch:
    """Return three rows in the given languages of the data."""
    batch = padded_batch(task, summary=FAMILIES[family].summary)
    return replace(batch, languages_B=torch.tensor(languages))


@pytest.mark.parametrize(("family", "task"), CASES, ids=IDS)
def test_every_position_is_scored_by_the_head_of_its_language(family: str, task: TaskName) -> None:
    model, batch = shared_model(family, task), batch_of(task, family, 3, 0, 2)
    logits_PK = read(model, task)(batch).logits_PK
    languages_P = batch.languages_B[batch.examples_P]
    alone = {}
    for index, language in enumerate(DATA_LANGUAGES):
        if language in LANGUAGES:
            alone[index] = read(single_language_model(model, language), task)(batch).logits_PK
            chosen_P = languages_P == index
            torch.testing.assert_close(
                logits_PK[chosen_P], alone[index][chosen_P], atol=1e-5, rtol=1e-5
            )
    assert not torch.allclose(alone[0], alone[2])
    assert not torch.allclose(alone[2], alone[3])


@pytest.mark.parametrize(("family", "task"), CASES, ids=IDS)
def test_a_single_language_model_scores_bit_by_bit_as_the_shared_one(
    family: str, task: TaskName
) -> None:
    model = shared_model(family, task)
    for index, language in [(0, "en"), (2, "to")]:
        batch = batch_of(task, family, index, index, index)
        single = single_language_model(model, language)
        assert type(single) is type(model.model)
        assert torch.equal(read(single, task)(batch).logits_PK, read(model, task)(batch).logits_PK)
        own = single(input_ids=batch.input_ids_BL, attention_mask=batch.attention_mask_BL).logits
        if task == "token_classification":
            own = own.flatten(0, 1)[batch.positions_P]
        torch.testing.assert_close(own, read(model, task)(batch).logits_PK, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("family", "task"), CASES, ids=IDS)
def test_every_head_has_a_gradient_of_zeros_where_its_language_is_absent(
    family: str, task: TaskName
) -> None:
    model = shared_model(family, task)
    # The model's own languages beyond the data's take part too.
    scored = ScoredModel(model, task=task, num_classes=3, languages=("aa", "to"))
    scored(batch_of(task, family, 1, 1, 1)).logits_PK.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
    gradients = {
        language: [
            dict(model.of(language).named_parameters())[name.removeprefix("to/")].grad
            for name in model.head_tensors()
            if name.startswith("to/")
        ]
        for language in LANGUAGES
    }
    trained = {
        lang for lang, found in gradients.items() if any(g is None or g.any() for g in found)
    }
    assert trained == {"to"}


def test_languages_start_from_the_same_head_and_learn_apart() -> None:
    model = PerLanguageModel(tiny_model("bert", TASK), LANGUAGES)
    scored, batch = read(model), batch_of(TASK, "bert", 0, 0, 0)
    others = replace(batch, languages_B=torch.tensor([2, 2, 2]))
    assert torch.equal(scored(batch).logits_PK, scored(others).logits_PK)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scored(batch).logits_PK.sum().backward()
    for name, parameter in model.named_parameters():
        if "encoder" in name or "embeddings" in name:
            parameter.grad = None
    optimizer.step()
    assert not torch.equal(scored(batch).logits_PK, scored(others).logits_PK)


def test_layers_are_those_of_the_encoder() -> None:
    model, batch = shared_model("bert"), batch_of(TASK, "bert", 0, 2, 3)
    wanted = LayersWanted(hidden=(1,), attention=(0,))
    outputs, plain = read(model)(batch, wanted), read(model.model)(batch, wanted)
    assert torch.equal(outputs.hidden_states_TD[1], plain.hidden_states_TD[1])
    assert torch.equal(outputs.attention[0].query_BHLE, plain.attention[0].query_BHLE)
    assert torch.equal(outputs.hidden_PD, plain.hidden_PD)


def test_any_share_of_the_positions_can_be_scored() -> None:
    scored = read(shared_model("distilbert", "token_classification"), "token_classification")
    batch = batch_of("token_classification", "distilbert", 3, 0, 2)
    hidden_PD, languages_P = scored.hidden(batch), batch.languages_B[batch.examples_P]
    pieces = [
        scored.scores(hidden_PD[start : start + 2], languages_P[start : start + 2]).logits()
        for start in range(0, len(hidden_PD), 2)
    ]
    torch.testing.assert_close(torch.cat(pieces), scored(batch).logits_PK)


def test_a_language_without_a_head_is_refused_where_it_is_scored() -> None:
    scored = read(shared_model("bert"))
    with pytest.raises(ModelError, match=r"no projection for 'fr', only for \['en', 'to'"):
        scored(batch_of(TASK, "bert", 0, 1, 2))


def test_languages_are_needed_and_given_once() -> None:
    model = tiny_model("bert", TASK)
    for languages in ((), ("en", "en")):
        with pytest.raises(ValueError, match="languages must be given, each once"):
            PerLanguageModel(model, languages)
    shared = PerLanguageModel(model, LANGUAGES)
    with pytest.raises(ValueError, match="the data's languages are needed"):
        ScoredModel(shared, task=TASK, num_classes=3)
    with pytest.raises(ValueError, match="positions of known languages only"):
        read(shared).scores(torch.zeros(2, 32))


def test_a_new_language_starts_from_the_head_that_is_named() -> None:
    model = shared_model("roberta")
    grown = with_languages(model, ("fr", "to"), sources={"fr": "to"})
    assert grown.languages == (*LANGUAGES, "fr")
    assert model.languages == LANGUAGES
    scored = read(grown)
    french = scored(batch_of(TASK, "roberta", 1, 1, 1)).logits_PK
    assert torch.equal(french, scored(batch_of(TASK, "roberta", 2, 2, 2)).logits_PK)
    for parameter in grown.heads["of_fr"].parameters():
        torch.nn.init.zeros_(parameter)
    tongan = batch_of(TASK, "roberta", 2, 2, 2)
    assert torch.equal(scored(tongan).logits_PK, read(model)(tongan).logits_PK)
    with pytest.raises(ModelError, match=r"'fr' has no projection yet.*\['en', 'to'"):
        with_languages(model, ("fr",), sources={})
    with pytest.raises(ModelError, match="no projection for 'xx'"):
        with_languages(model, ("fr",), sources={"fr": "xx"})


def test_heads_share_out_positions_without_a_look_at_numbers_on_the_device() -> None:
    batch = replace(batch_of(TASK, "bert", 3, 0, 2), attention_mask_BL=None)
    # Tensors without numbers: whoever asks for one fails.
    outputs = read(shared_model("bert")).to("meta")(batch.to(torch.device("meta")))
    assert outputs.logits_PK.shape == (3, len(LABELS))
    assert outputs.logits_PK.is_meta
