"""A run has one number for a question, and a seed has one difference."""

import math
from dataclasses import replace
from typing import Any

import pytest
from raykd.sweep.questions.contrast import ArmWeight, Contrast, Measure
from raykd.sweep.questions.values import differences_of, missing, seeds_of, value_of
from raykd.sweep.record import Record, State

from tests.sweeps import trial_of

LOSSES = {20: 3.0, 40: 2.0, 60: 2.5, 100: 1.0}


def run_of(values: dict[int, float], *, seed: int = 1, name: str = "a", **given: Any) -> Record:
    """Return a trial of 100 steps with its loss after some of them."""
    evaluations = tuple({"step": s, "tokens": 50 * s, "eval/loss": v} for s, v in values.items())
    return trial_of({"arm": name}, seed=seed, evaluations=evaluations, **given)


def measure(**given: Any) -> Measure:
    return Measure(**{"metric": "eval/loss", "mode": "min", **given})


@pytest.mark.parametrize(
    ("asked", "value"),
    [
        ({}, 1.0),
        ({"at": 0.2}, 3.0),
        # The first evaluation at or past it.
        ({"at": 0.21}, 2.0),
        ({"at": 0.9}, 1.0),
        ({"steps_to": 2.0}, 40),
        ({"steps_to": 2.2}, 40),
        ({"steps_to": 1.5}, 100),
        ({"steps_to": 0.5}, None),
        ({"steps_to": 2.5, "mode": "max"}, 20),
        # Trapezoids: 20 x 2.5, 20 x 2.25 and 40 x 1.75, over 80 steps.
        ({"area": True}, (50 + 45 + 70) / 80),
        ({"metric": "eval/accuracy"}, None),
    ],
)
def test_a_run_has_one_number(asked: dict[str, Any], value: float | None) -> None:
    assert value_of(run_of(LOSSES), measure(**asked)) == value


def test_the_area_of_a_straight_line_is_its_middle_however_often_it_is_evaluated() -> None:
    seldom, often = ({s: 10 - s / 20 for s in range(0, 101, by)} for by in (50, 5))
    assert value_of(run_of(seldom), measure(area=True)) == pytest.approx(7.5, rel=1e-12)
    assert value_of(run_of(often), measure(area=True)) == pytest.approx(7.5, rel=1e-12)
    assert value_of(run_of({100: 1.0}), measure(area=True)) is None


def test_a_fraction_is_the_step_where_a_model_is_kept_to_be_probed() -> None:
    # A milestone at 0.124 of 100 steps is step 12, and has been probed there.
    run = replace(run_of(LOSSES), evaluations=({"step": 12, "x": 1.0}, {"step": 13, "x": 2.0}))
    assert value_of(run, measure(metric="x", at=0.124)) == 1.0


def test_an_evaluation_without_the_metric_is_passed_over() -> None:
    run = run_of(LOSSES)
    probed = {"step": 30, "tokens": 1, "probe/two/accuracy": 0.5}
    run = replace(run, evaluations=(run.evaluations[0], probed, *run.evaluations[1:]))
    assert value_of(run, measure(at=0.3)) == 2.0
    assert value_of(run, measure(metric="probe/two/accuracy", at=0.1, mode="max")) == 0.5


@pytest.mark.parametrize(("mode", "worst"), [("max", 0.2), ("min", 0.9)])
def test_the_worst_language_is_that_of_each_evaluation(mode: Any, worst: float) -> None:
    languages = {"eval/f1/de": 0.2, "eval/f1/en": 0.9, "eval/f1": 0.5, "eval/f10/fr": 0.0}
    run = replace(run_of(LOSSES), evaluations=({"step": 100, **languages},))
    assert value_of(run, measure(metric="eval/worst/f1", mode=mode)) == worst
    assert value_of(run, measure(metric="eval/worst/none", mode=mode)) is None
    unknown = replace(run, evaluations=({"step": 100, **languages, "eval/f1/de": math.nan},))
    assert value_of(unknown, measure(metric="eval/worst/f1", mode=mode)) is None


@pytest.mark.parametrize("state", [s for s in State if s is not State.DONE])
def test_a_run_that_is_not_done_has_no_number(state: State) -> None:
    assert value_of(run_of(LOSSES, state=state), measure(at=0.2)) is None


@pytest.mark.parametrize("asked", [{}, {"at": 0.5}, {"area": True}, {"steps_to": 0.0}])
def test_what_is_not_finite_is_no_number(asked: dict[str, Any]) -> None:
    for value in (math.nan, math.inf):
        assert value_of(run_of({50: value, 100: value}), measure(**asked)) is None


def contrast_of(*runs: Record, weights: tuple[float, ...] = (1, -1), **given: Any) -> Contrast:
    arms = dict.fromkeys(run.arm for run in runs)
    return Contrast(
        weights=tuple(
            ArmWeight(arm=arm, weight=weight, measure=measure(**given))
            for arm, weight in zip(arms, weights, strict=True)
        ),
        minus=0.25,
        mode="min",
    )


def test_a_difference_is_the_weighted_sum_of_a_seed() -> None:
    runs = [run_of({100: seed * size}, seed=seed, name=name)
            for seed in (3, 1) for name, size in (("a", 1.0), ("b", 10.0))]  # fmt: skip
    contrast = contrast_of(*runs, weights=(0.5, -2))
    assert differences_of(contrast, runs) == {3: 1.5 - 60 - 0.25, 1: 0.5 - 20 - 0.25}
    assert missing(contrast, runs, [3, 1]) is None


def test_a_seed_counts_where_every_arm_has_it_and_is_done() -> None:
    runs = [run_of(LOSSES, seed=seed, name=name) for name in "ab" for seed in (1, 2, 3, 4, 5)]
    runs[1] = replace(runs[1], state=State.RUNNING)
    runs[7] = replace(runs[7], state=State.FAILED)
    del runs[9]
    contrast = contrast_of(*runs)
    assert seeds_of(contrast, runs) == [1, 2, 3, 4]
    assert list(differences_of(contrast, runs)) == [1, 4]
    assert missing(contrast, runs, [1, 2, 3, 4, 5]) == (
        "3 of 5 seeds missing: 1 running, 1 failed, 1 not in the study"
    )


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"steps_to": 0.5}, "never reaches 0.5"),
        ({"metric": "eval/f1"}, "without a finite eval/f1"),
        ({"metric": "probe/two/f1"}, "not fully probed"),
    ],
)
def test_why_a_seed_has_no_difference_is_told(asked: dict[str, Any], reason: str) -> None:
    runs = [run_of(LOSSES, seed=seed, name=name) for name in "ab" for seed in (1, 2)]
    contrast = contrast_of(*runs, **asked)
    assert differences_of(contrast, runs) == {}
    assert missing(contrast, runs, [1, 2]) == f"2 of 2 seeds missing: 2 {reason}"
