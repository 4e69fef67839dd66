"""A student with a projection per language: which it has, and where a language's begins."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from raykd.batch import Batch
from raykd.config.schema.run import RunConfig, TaskName
from raykd.distill.projections import nearest_language, with_projections
from raykd.errors import ConfigError
from raykd.models.per_language import PerLanguageModel
from raykd.models.scored import ScoredModel

from tests.small_runs import small_run
from tests.tiny_models import LABELS, padded_batch, tiny_model

TASK: TaskName = "sequence_classification"
DATA = ("de", "en", "sw", "to")


def model_of(*languages: str, biases: tuple[int, ...] = ()) -> PerLanguageModel:
    """Return a model whose projections differ; each is sure of one class where that is given."""
    model = PerLanguageModel(tiny_model("bert", TASK), languages)
    for parameter in model.heads.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    for language, label in zip(languages, biases, strict=False):
        with torch.no_grad():
            model.of(language).classifier.bias[label] += 9
    return model


def read(model: Any) -> ScoredModel:
    return ScoredModel(model, task=TASK, num_classes=len(LABELS), languages=DATA)


def batches_of(language: str) -> Iterator[Batch]:
    """Yield rows of which every language has one class of its own."""
    index = DATA.index(language)
    batch = padded_batch(TASK)
    while True:
        yield replace(
            batch,
            labels_P=torch.full((3,), index % 3),
            languages_B=torch.full((3,), index),
        )


def config(tmp_path: Path, **sources: str) -> RunConfig:
    return small_run(
        tmp_path,
        task=TASK,
        student={
            "pretrained": "pretrained",
            "projections": "per_language",
            "projection_sources": sources,
        },
    )


def grown(model: Any, run: RunConfig, *, is_restored: bool = False) -> Any:
    batches = None if is_restored else batches_of
    return with_projections(model, run.student, DATA, read=read, batches_of=batches)


def assert_equal_heads(model: PerLanguageModel, language: str, other: str) -> None:
    mine, theirs = (model.of(name).state_dict() for name in (language, other))
    assert all(torch.equal(mine[name], tensor) for name, tensor in theirs.items()), language


@pytest.mark.parametrize(("biases", "nearest"), [((0, 1), "en"), ((1, 0), "de")])
def test_the_nearest_language_has_the_least_loss(biases: tuple[int, int], nearest: str) -> None:
    model = model_of("de", "en", biases=biases)
    assert nearest_language(model, batches_of("to"), language="to", read=read) != nearest
    batches = (replace(b, labels_P=torch.ones(3, dtype=torch.int64)) for b in batches_of("to"))
    assert nearest_language(model, batches, language="to", read=read) == nearest


def test_a_language_starts_from_its_source_and_else_from_the_nearest(tmp_path: Path) -> None:
    # The rows of sw have class 2 and those of to class 0.
    model = model_of("de", "en", biases=(2, 0))
    found = grown(model, config(tmp_path))
    assert found.languages == DATA
    assert_equal_heads(found, "sw", "de")
    assert_equal_heads(found, "to", "en")
    given = grown(model, config(tmp_path, sw="en"))
    assert_equal_heads(given, "sw", "en")
    assert_equal_heads(given, "to", "en")


def test_encoder_and_old_projections_are_those_of_the_model(tmp_path: Path) -> None:
    model = model_of("de", "en")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = grown(model, config(tmp_path)).state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in before.items())
    assert len(found) > len(before)


def test_what_is_restored_looks_at_no_rows(tmp_path: Path) -> None:
    found = grown(model_of("de", "en"), config(tmp_path), is_restored=True)
    assert found.languages == DATA


def test_a_plain_model_gives_its_head_to_every_language(tmp_path: Path) -> None:
    plain = tiny_model("bert", TASK)
    found = grown(plain, config(tmp_path))
    assert found.languages == DATA
    for language in DATA:
        assert_equal_heads(found, language, "de")
    shared = small_run(tmp_path, task=TASK)
    assert grown(plain, shared) is plain


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    model = model_of("de", "en")
    with pytest.raises(ConfigError, match=r"names \['fr'\], but .* for \['de', 'en'\]"):
        grown(model, config(tmp_path, sw="fr"))
    shared = small_run(tmp_path, task=TASK, student={"pretrained": "pretrained"})
    with pytest.raises(ConfigError, match=r"pretrained has a projection for .*=per_language"):
        grown(model, shared)
