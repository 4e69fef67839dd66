"""From the configuration to a ensemble: its tables, its ways of weighting, its refusals."""

import logging
from typing import Any

import pytest
import torch
from raykd.config.schema.teachers import (
    ByLanguageConfig,
    EntropyConfig,
    FixedWeightsConfig,
    ImportanceConfig,
    MaxMarginConfig,
    TeacherWeightsConfig,
    UniformWeightsConfig,
)
from raykd.errors import ConfigError
from raykd.teachers.build import Served, build_ensemble, check_languages, served_table
from raykd.teachers.ensemble import TeacherEnsemble
from raykd.teachers.weights import entropies, entropy_weights, importance, margins, max_margin

from tests.unit.teachers.test_ensemble import Asked, batch_of, spread

LANGUAGES = ("de", "en", "sw")
SERVED: Served = {"a": None, "b": ("en", "de"), "c": ("en",)}


def panel_of(
    weights: TeacherWeightsConfig | None, served: Served = SERVED, **given: Any
) -> TeacherEnsemble:
    """Return a ensemble of teachers a, b, c."""
    teachers = {name: Asked(seed) for seed, name in enumerate(served)}
    return build_ensemble(
        weights, teachers, served=served, languages=LANGUAGES, **{"trained": LANGUAGES, **given}
    )


def shares(ensemble: TeacherEnsemble) -> dict[str, list[float]]:
    """Return how much each teacher counts in de, en and sw."""
    found = dict.fromkeys(ensemble.teachers, [0.0] * 3)
    batch = batch_of([0, 1, 2])
    for signal in ensemble(batch):
        weights_P = spread(signal, batch).tolist()
        found[signal.name] = [weights_P[0], weights_P[1], weights_P[3]]
    return found


@pytest.mark.parametrize("weights", [None, TeacherWeightsConfig(uniform=UniformWeightsConfig())])
def test_uniform_is_over_the_teachers_that_serve(weights: TeacherWeightsConfig | None) -> None:
    third = pytest.approx(1 / 3)
    assert shares(panel_of(weights)) == {
        "a": [0.5, third, 1],
        "b": [0.5, third, 0],
        "c": [0, third, 0],
    }


def test_fixed_weights_are_brought_to_one_over_the_teachers_that_serve() -> None:
    weights = TeacherWeightsConfig(fixed=FixedWeightsConfig(weights={"c": 4, "a": 1, "b": 3}))
    assert shares(panel_of(weights)) == {
        "a": [0.25, 0.125, 1],
        "b": [0.75, 0.375, 0],
        "c": [0, 0.5, 0],
    }


def test_a_language_follows_its_teacher() -> None:
    weights = by_language({"de": "b", "en": "c", "sw": "a"})
    assert shares(panel_of(weights)) == {"a": [0, 0, 1], "b": [1, 0, 0], "c": [0, 1, 0]}


def test_importance_per_language_is_a_table_of_the_mean_margins() -> None:
    weights = TeacherWeightsConfig(importance=ImportanceConfig(per="language", temperature=0.2))
    means_NG = torch.tensor(
        [[0.5, 0.1, -0.3], [0.25, -0.2, 0.9], [0.9, 0.3, 0.9]], dtype=torch.float64
    )
    found = shares(panel_of(weights, mean_margins_NG=means_NG))
    expected = importance(means_NG, served_table(SERVED, LANGUAGES), temperature=0.2)
    assert list(found.values()) == [pytest.approx(row) for row in expected.tolist()]
    assert found["a"][2] == 0
    with pytest.raises(ValueError, match="needs the mean margins"):
        panel_of(weights)


def test_importance_max_margin_and_entropy_weigh_every_position() -> None:
    batch = batch_of([0, 1, 2, 1, 0, 2])
    is_asked_NP = served_table(SERVED, LANGUAGES)[:, batch.languages_B[batch.examples_P]]
    signals = panel_of(None, dict.fromkeys(SERVED)).served(batch)
    logits = [signal.outputs.logits_PK for signal in signals]
    margins_NP = torch.stack([margins(logits_PK, batch.labels_P) for logits_PK in logits])
    entropies_NP = torch.stack([entropies(logits_PK) for logits_PK in logits])
    ways = {
        TeacherWeightsConfig(importance=ImportanceConfig(temperature=0.3)): importance(
            margins_NP, is_asked_NP, temperature=0.3
        ),
        TeacherWeightsConfig(max_margin=MaxMarginConfig()): max_margin(margins_NP, is_asked_NP),
        TeacherWeightsConfig(entropy=EntropyConfig(temperature=0.7)): entropy_weights(
            entropies_NP, is_asked_NP, temperature=0.7
        ),
    }
    for weights, expected_NP in ways.items():
        found_NP = torch.stack([spread(signal, batch) for signal in panel_of(weights)(batch)])
        torch.testing.assert_close(found_NP, expected_NP)


def test_the_tables_are_in_the_order_of_the_teachers() -> None:
    teachers = {"b": Asked(1), "a": Asked(0)}
    ensemble = build_ensemble(
        None,
        teachers,
        served={"a": None, "b": ("en",)},
        languages=LANGUAGES,
        trained=LANGUAGES,
    )
    assert shares(ensemble) == {"a": [1, 0.5, 1], "b": [0, 0.5, 0]}


def by_language(teachers: dict[str, str]) -> TeacherWeightsConfig:
    return TeacherWeightsConfig(by_language=ByLanguageConfig(teachers=teachers))


@pytest.mark.parametrize(
    ("weights", "served", "message"),
    [
        (None, {"a": ("de", "fr")}, r"teachers\.a\.languages: the data has no \['fr'\]; it has"),
        (
            by_language({"de": "a", "en": "a", "sw": "a", "fr": "a"}),
            {"a": None},
            r"by_language\.teachers: the data has no \['fr'\]; it has \['de', 'en', 'sw'\]",
        ),
        (
            by_language({"de": "a"}),
            {"a": None},
            r"has no teacher for \['en', 'sw'\].*it names \{'de': 'a'\}",
        ),
        (
            by_language({"de": "a", "en": "a", "sw": "a"}),
            {"a": ("de", "en")},
            r"sw follows a, which serves \['de', 'en'\]",
        ),
    ],
)
def test_languages_that_do_not_fit_are_refused(
    weights: TeacherWeightsConfig | None, served: Served, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        check_languages(weights, served, languages=LANGUAGES, trained=LANGUAGES)
    with pytest.raises(ConfigError, match=message):
        panel_of(weights, served)


def test_a_language_that_is_not_trained_on_needs_no_teacher() -> None:
    weights = by_language({"de": "b"})
    assert shares(panel_of(weights, trained=("de",)))["b"] == [1, 0, 0]


def test_a_language_without_a_teacher_trains_alone_and_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        ensemble = panel_of(None, {"b": ("en",)}, trained=("de", "en"))
    assert [record.getMessage() for record in caplog.records] == [
        "no teacher counts in ['de']: the true labels alone train them"
    ]
    assert shares(ensemble) == {"b": [0, 1, 0]}
