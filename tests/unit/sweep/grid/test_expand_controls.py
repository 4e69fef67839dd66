"""Which runs are controls: trained on labels alone, once for all that they are compared with."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from tests.sweep_files import WEIGHT, expanded, sweep_in, write_runs
from tests.unit.sweep.entries import (
    HALVES,
    INIT,
    LONGER,
    controls_in,
    identities,
    others_in,
    trials_of,
)


def test_from_a_random_start_all_teachers_and_weights_share_one_control(directory: Path) -> None:
    weights = {WEIGHT: {"grid": [0.5, 1, "4 -> 1"]}}
    stages, trials = expanded(
        sweep_in(directory, teachers={"a": HALVES, "b": LONGER}, search=weights)
    )
    assert len(stages) == 2
    (control,) = controls_in(trials)
    assert trials[0] is control
    assert (control.coordinates, control.needs) == ({}, ())
    assert control.config.teachers == {}
    assert control.config.losses.present == ["cross_entropy"]
    assert len(others_in(trials)) == 3 * 3
    assert {trial.control for trial in trials} == {control.id}


def test_from_a_teachers_weights_every_quality_has_its_control(directory: Path) -> None:
    search = {WEIGHT: {"grid": [1, 2]}, INIT: {"grid": [{"remap": {}}]}}
    stages, trials = expanded(
        sweep_in(directory, teachers={"a": HALVES, "b": LONGER}, search=search)
    )
    controls = controls_in(trials)
    assert [(c.coordinates["teacher"], c.coordinates["quality"]) for c in controls] == [
        ("a", 0.5),
        ("a", 1.0),
        ("b", 1.0),
    ]
    assert [c.needs for c in controls] == [(stages[i].id,) for i in (0, 0, 1)]
    for trial in others_in(trials):
        control = next(c for c in controls if c.id == trial.control)
        assert control.coordinates.items() <= trial.coordinates.items()
        assert WEIGHT not in control.coordinates
        assert control.config.teachers == {}
        source = next(iter(trial.config.teachers.values())).model
        assert control.config.student.init is not None
        assert control.config.student.init.method.source == source


def test_both_starts_have_one_control_and_one_per_quality(directory: Path) -> None:
    search = {WEIGHT: {"grid": [0, 1]}, INIT: {"grid": [None, {"remap": {}}]}}
    trials = trials_of(directory, teachers={"a": HALVES, "b": LONGER}, search=search)
    assert len(controls_in(trials)) == 1 + 3
    assert len(others_in(trials)) == 3 * 2
    assert controls_in(trials)[0].coordinates == {INIT: None}


@pytest.mark.parametrize("nothing", [0, 0.0, "0", "0 -> 0", "0 @ 0.5 -> 0"])
def test_weight_zero_in_the_grid_is_the_control(directory: Path, nothing: Any) -> None:
    trials = trials_of(directory, search={WEIGHT: {"grid": [nothing, 1]}})
    alone = trials_of(directory, search={WEIGHT: {"grid": [1]}})
    assert identities(trials) == identities(alone)


@pytest.mark.parametrize("late", ["0 -> 1", "1 -> 0"])
def test_a_weight_that_is_zero_for_a_while_is_no_control(directory: Path, late: str) -> None:
    trials = trials_of(directory, search={WEIGHT: {"grid": [late]}})
    assert len(others_in(trials)) == 1


def test_controls_may_be_left_out_where_nothing_is_asked_of_them(directory: Path) -> None:
    search = {WEIGHT: {"grid": [1, 2]}, INIT: {"grid": [None, {"remap": {}}]}}
    without = [{INIT: {"remap": {}}, "control": True}]
    trials = trials_of(directory, search=search, exclude=without)
    (control,) = controls_in(trials)
    assert control.coordinates == {INIT: None}
    assert len(others_in(trials)) == 2 * 2
    for trial in others_in(trials):
        assert trial.control == (None if trial.coordinates[INIT] else control.id)


def test_a_control_stays_that_another_trial_has(directory: Path) -> None:
    search = {WEIGHT: {"grid": [1, 2]}}
    trials = trials_of(directory, search=search, exclude=[{WEIGHT: 1, "control": True}])
    assert len(controls_in(trials)) == 1


def test_a_control_of_losses_that_differ_is_at_what_they_share(directory: Path) -> None:
    pairs = {
        "balance": {
            "soft": {"losses.cross_entropy.weight": 1, WEIGHT: 1},
            "hard": {"losses.cross_entropy.weight": 1, WEIGHT: 3},
        }
    }
    (control,) = controls_in(trials_of(directory, pairs=pairs))
    assert control.coordinates == {}


def test_the_weight_of_the_labels_belongs_to_the_control_too(directory: Path) -> None:
    key = "losses.cross_entropy.weight"
    trials = trials_of(directory, search={key: {"grid": [1, 0.5]}, WEIGHT: {"grid": [1, 2]}})
    assert [c.coordinates for c in controls_in(trials)] == [{key: 1}, {key: 0.5}]


def test_without_controls_only_a_trial_that_is_one_is_there(directory: Path) -> None:
    trials = trials_of(directory, controls=False, search={WEIGHT: {"grid": [1, 2]}})
    assert [trial.control for trial in trials] == [None, None]


@pytest.mark.parametrize("weights", list(itertools.permutations([0, 1, 2])))
def test_without_controls_weight_zero_is_the_control_wherever_it_stands(
    directory: Path, weights: tuple[int, ...]
) -> None:
    trials = trials_of(directory, controls=False, search={WEIGHT: {"grid": list(weights)}})
    (control,) = controls_in(trials)
    assert len(trials) == 3
    assert {trial.control for trial in trials} == {control.id}


def test_the_control_of_pure_distillation_learns_from_labels(tmp_path: Path) -> None:
    directory = write_runs(tmp_path, losses={"forward_kl": {}})
    trials = trials_of(directory)
    (control,) = controls_in(trials)
    assert control.config.losses.present == ["cross_entropy"]
    assert [t.config.losses.present for t in others_in(trials)] == [["forward_kl"]]
    # It is the control of the run with labels as well.
    both = trials_of(write_runs(tmp_path))
    assert control.id in {entry.id for entry in both}


@pytest.mark.parametrize("controls", [True, False])
def test_without_any_teacher_there_are_no_controls(tmp_path: Path, controls: bool) -> None:
    directory = write_runs(tmp_path, teachers={}, losses={"cross_entropy": {}})
    search = {"optimizer.learning_rate": {"grid": [1e-3, 1e-2]}}
    trials = trials_of(directory, teachers={}, search=search, controls=controls)
    assert [trial.control for trial in trials] == [None, None]
    assert [trial.coordinates for trial in trials] == [
        {"optimizer.learning_rate": 1e-3},
        {"optimizer.learning_rate": 1e-2},
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"data": {"uri": "DATA", "mixing": {"adaptive": {}}}},
        {"student": {"architecture": {"num_layers": 1}}},
    ],
    ids=["mixture", "architecture"],
)
def test_a_control_keeps_the_teacher_that_it_depends_on(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    directory = write_runs(tmp_path, **changes)
    data = {"data.uri": str(directory / "data")}
    stages, trials = expanded(sweep_in(directory, teachers={"a": HALVES}, overrides=data))
    controls = controls_in(trials)
    assert [c.coordinates for c in controls] == [
        {"teacher": "a", "quality": 0.5},
        {"teacher": "a", "quality": 1.0},
    ]
    assert {c.needs for c in controls} == {(stages[0].id,)}


@pytest.mark.parametrize(
    ("losses", "of_control"),
    [
        ({"squared_error": {"weight": "2"}}, {"squared_error": "2"}),
        ({"squared_error": {"weight": "0"}}, {"squared_error": "1"}),
        ({"cross_entropy": {"weight": "0 -> 0"}}, {"cross_entropy": "1"}),
        ({}, {"cross_entropy": "1"}),
    ],
)
def test_a_control_trains_on_the_labels_that_the_data_has(
    tmp_path: Path, losses: dict[str, Any], of_control: dict[str, str]
) -> None:
    directory = write_runs(tmp_path, losses={"logit_mse": {}, **losses})
    (control,) = controls_in(trials_of(directory, search={}))
    present = control.config.losses.present
    assert {name: getattr(control.config.losses, name).weight for name in present} == of_control


def test_weights_of_the_squared_error_tell_controls_apart(directory: Path) -> None:
    key = "losses.squared_error.weight"
    trials = trials_of(directory, search={key: {"grid": [1, 2]}})
    assert [control.coordinates for control in controls_in(trials)] == [{key: 1}, {key: 2}]


def test_a_control_in_the_grid_says_which_points_it_is_and_one_beside_it_is_none(
    directory: Path,
) -> None:
    given = {"teachers": {"a": HALVES, "b": LONGER}}
    trials = trials_of(directory, **given, search={WEIGHT: {"grid": [0, 1]}}, seeds=[1, 2])
    places = [(t, q) for t, qualities in (("a", (0.5, 1.0)), ("b", (1.0,))) for q in qualities]
    for control in controls_in(trials):
        assert control.coordinates == {}
        assert control.points == tuple(
            {"teacher": teacher, "quality": quality, WEIGHT: 0} for teacher, quality in places
        )
    # What is one point, and has its coordinates, does not say so twice.
    assert {trial.points for trial in others_in(trials)} == {()}
    beside = trials_of(directory, **given, search={WEIGHT: {"grid": [1]}})
    assert {trial.points for trial in beside} == {()}


def test_points_that_are_one_run_are_one_trial(directory: Path) -> None:
    pairs = {"loss": {name: {WEIGHT: weight} for name, weight in (("one", 1), ("same", "1"))}}
    (trial,) = others_in(trials_of(directory, pairs=pairs))
    assert [point["loss"] for point in trial.points] == ["one", "same"]


def test_without_a_comparison_a_run_on_labels_is_a_plain_point(directory: Path) -> None:
    (trial,) = trials_of(directory, search={WEIGHT: {"grid": [0]}}, controls=False)
    assert trial.control is None
    assert trial.points == ({"teacher": "small", "quality": 1.0, WEIGHT: 0},)
