"""What is for classes is refused where the label is a number, and the other way round."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from raykd.config.schema.losses import LossesConfig
from raykd.config.schema.run import TaskName
from raykd.distill.setup import read_setup
from raykd.planning.objective_fit import objective_problems
from raykd.planning.run_plan import plan_run

from tests.small_runs import number_data, small_data, small_run

TEACHERS = {"a": {"model": "a"}, "b": {"model": "b"}}
DIVERGENCES = (
    "forward_kl",
    "reverse_kl",
    "jensen_shannon",
    "skewed_kl",
    "total_variation",
    "taid",
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("objectives")
    number_data(path / "numbers")
    small_data(path / "classes")
    return path


def problems(
    directory: Path, data: str, *, task: TaskName = "sequence_classification", **changes: Any
) -> list[str]:
    given = {"teachers": TEACHERS, "data__uri": str(directory / data), "task": task}
    return objective_problems(read_setup(small_run(directory, **(given | changes))))


def test_every_divergence_is_told_with_what_to_use_instead(directory: Path) -> None:
    losses: dict[str, Any] = {name: {} for name in ("cross_entropy", *DIVERGENCES)}
    lines = problems(directory, "numbers", losses=losses)
    assert [line.split()[0] for line in lines] == [f"losses.{name}" for name in losses]
    assert f"the label of {directory}/numbers is a number: use losses.squared_error" in lines[0]
    assert all(line.endswith(": use losses.logit_mse") for line in lines[1:])


def test_no_divergence_on_scores_is_left_out() -> None:
    layers = {"hidden_states", "attention_scores", "attention_relations"}
    fine = {"cross_entropy", "squared_error", "logit_mse"}
    assert {field.name for field in fields(LossesConfig)} == {*DIVERGENCES} | layers | fine


def test_numbers_are_learnt_from_labels_teachers_and_layers(directory: Path) -> None:
    losses: dict[str, Any] = {name: {} for name in ("squared_error", "logit_mse")}
    losses["hidden_states"] = {"teacher": "a"}
    weights = {"fixed": {"weights": {"a": 1, "b": 2}}}
    assert problems(directory, "numbers", losses=losses, teacher_weights=weights) == []


@pytest.mark.parametrize("way", ["importance", "max_margin", "entropy"])
def test_weights_by_probabilities_are_refused(directory: Path, way: str) -> None:
    (line,) = problems(directory, "numbers", losses={"logit_mse": {}}, teacher_weights={way: {}})
    assert line.startswith("teacher_weights: importance, max_margin and entropy follow")


def test_mixing_by_accuracy_is_refused(directory: Path) -> None:
    given: dict[str, Any] = {"losses": {"logit_mse": {}}, "data__mixing": {"adaptive": {}}}
    (line,) = problems(directory, "numbers", **given)
    assert line.startswith("data.mixing.adaptive follows accuracies")


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("sequence_classification", "has classes: use losses.cross_entropy, or prepare the data"),
        ("token_classification", "got task=token_classification: use losses.cross_entropy"),
        ("masked_lm", "got task=masked_lm"),
    ],
)
def test_classes_have_no_squared_error(directory: Path, task: TaskName, message: str) -> None:
    (line,) = problems(directory, "classes", task=task, losses={"squared_error": {}})
    assert message in line
    losses: dict[str, Any] = {"cross_entropy": {}, "forward_kl": {}}
    assert problems(directory, "classes", task=task, losses=losses) == []


def test_a_language_model_does_not_mind_what_label_the_rows_have(directory: Path) -> None:
    assert problems(directory, "numbers", task="masked_lm", losses={"cross_entropy": {}}) == []


def test_a_plan_tells_each_of_them(directory: Path) -> None:
    config = small_run(
        directory,
        task="sequence_classification",
        data__uri=str(directory / "numbers"),
    )
    assert [line.split()[0] for line in plan_run(config).problems] == ["losses.cross_entropy"]
