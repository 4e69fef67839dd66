"""A metric that the data does not give is a problem before the sweep starts."""

from pathlib import Path

import pytest
from raykd.config.schema.run import RunConfig
from raykd.distill.setup import read_setup
from raykd.sweep.plan.checks import choice_problem, metric_problem

from tests.small_runs import number_data, small_data, small_run


def problem_of(metric: str, config: RunConfig) -> str | None:
    return metric_problem(metric, config, read_setup(config))


def test_entities_are_compared_only_where_the_classes_are_entity_labels(tmp_path: Path) -> None:
    small_data(tmp_path / "data")
    small_data(tmp_path / "other", word_labels=("O", "B-X", "X"))
    right = small_run(tmp_path, task="token_classification")
    other = small_run(tmp_path, task="token_classification", data__uri=str(tmp_path / "other"))
    assert problem_of("eval/entity_f1/de", right) is None
    assert problem_of("eval/entity_f1", other) == (
        "metric=eval/entity_f1: no entity F1: class 'X' is not O, and begins with none of B-, I-, "
        "E-, S-"
    )
    assert problem_of("eval/macro_f1", other) is None


@pytest.mark.parametrize(
    ("metric", "problem"),
    [
        ("eval/loss/en", None),
        ("eval/seen/accuracy", None),
        ("eval/unseen/matthews", None),
        ("eval/loss/fr", "metric=eval/loss/fr: trials are not evaluated in fr: de, en"),
        ("eval/unseen/loss/en", "metric=eval/unseen/loss/en is none that evaluations of"),
        ("eval/seen/forgetting", "metric=eval/seen/forgetting is none that evaluations of"),
        ("eval/seen/teacher", "metric=eval/seen/teacher is none that evaluations of"),
    ],
)
def test_seen_and_unseen_languages_are_compared_where_there_are_some(
    tmp_path: Path, metric: str, problem: str | None
) -> None:
    small_data(tmp_path / "data")
    given = {"task": "sequence_classification", "data__languages": ["de"]}
    run = small_run(tmp_path, **given, data__eval_languages=["de", "en"])
    found = problem_of(metric, run)
    assert found == problem if problem is None else str(found).startswith(problem)
    if problem is None:
        assert problem_of(metric, small_run(tmp_path, **given)) is not None


def test_a_group_of_languages_that_is_empty_is_no_metric(tmp_path: Path) -> None:
    small_data(tmp_path / "data")
    languages = {"data__languages": ["de"], "data__eval_languages": ["en"]}
    assert problem_of("eval/unseen/loss", small_run(tmp_path, **languages)) is None
    assert problem_of("eval/seen/loss", small_run(tmp_path, **languages)) == (
        "metric=eval/seen/loss: data.eval_languages names no language that is trained on"
    )
    assert problem_of("eval/unseen/loss", small_run(tmp_path)) == (
        "metric=eval/unseen/loss: data.eval_languages names no language that is not trained on"
    )


def test_numbers_have_metrics_of_their_own(tmp_path: Path) -> None:
    small_data(tmp_path / "data")
    number_data(tmp_path / "numbers")
    uri = str(tmp_path / "numbers")
    teachers = {"a": {"model": "m"}}
    numbers = small_run(tmp_path, task="sequence_classification", data__uri=uri, teachers=teachers)
    classes = small_run(tmp_path, task="sequence_classification")
    for metric in ("eval/loss", "eval/pearson", "eval/spearman/de", "eval/teacher/pearson"):
        assert problem_of(metric, numbers) is None
    for metric in ("eval/accuracy", "eval/agreement", "eval/forgetting"):
        assert str(problem_of(metric, numbers)).startswith(
            f"metric={metric} is none that evaluations of sequence_classification give: "
            "eval/loss, eval/pearson, eval/spearman, each of a language too, such as eval/loss/en"
        )
    assert "is none that evaluations" in str(problem_of("eval/pearson", classes))
    assert problem_of("eval/pearson/fr", numbers) == (
        "metric=eval/pearson/fr: trials are not evaluated in fr: de, en"
    )


@pytest.mark.parametrize(
    ("metric", "instead"),
    [
        (
            "eval/loss",
            "counts en, not trained on, and runs are chosen by it: take eval/seen/loss, or",
        ),
        ("eval/accuracy/en", "take eval/seen/accuracy"),
        ("eval/accuracy/de", None),
        ("eval/seen/loss", None),
        ("eval/unseen/loss", None),
    ],
)
def test_nothing_is_chosen_by_unseen_languages_unless_that_is_said(
    tmp_path: Path, metric: str, instead: str | None
) -> None:
    small_data(tmp_path / "data")
    run = small_run(tmp_path, data__languages=["de"], data__eval_languages=["de", "en"])
    found = choice_problem(metric, read_setup(run))
    assert found is None if instead is None else instead in str(found)
    assert choice_problem(metric, read_setup(small_run(tmp_path))) is None
