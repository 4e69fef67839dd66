"""Teachers of a sweep: models that are there, and stages that are trained first."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from raykd.config.inputs import models_by_teacher
from raykd.config.schema.model import TeacherConfig, UnigramConfig
from raykd.config.schema.run import RunConfig
from raykd.runs.checkpoint import checkpoint_name
from raykd.runs.inputs import find_input
from raykd.runs.paths import run_paths
from raykd.storage import uris
from raykd.storage.published.directory import COMMITTED
from raykd.sweep.grid.entry import Entry
from raykd.sweep.grid.expand import Expansion

from tests.sweep_files import SMALL, expanded, sweep_in, write_runs
from tests.unit.sweep.entries import (
    HALVES,
    LONGER,
    controls_in,
    identities,
    others_in,
    trials_of,
)
from tests.unit.train.test_run import train


def test_teachers_together_keep_their_settings_and_share_one_control(tmp_path: Path) -> None:
    teachers = {"de": {"model": "none", "languages": ["de"]}, "en": {"model": "none"}}
    directory = write_runs(tmp_path, teachers=teachers)
    ways: list[Any] = [None, {"importance": {}}, {"fixed": {"weights": {"de": 1, "en": 2}}}]
    stages, trials = expanded(
        sweep_in(
            directory,
            teachers={"de": SMALL, "en": LONGER},
            teachers_are="together",
            search={"teacher_weights": {"grid": ways}},
        )
    )
    (control,) = controls_in(trials)
    assert control.coordinates == {}
    assert control.config.teacher_weights is None
    assert [t.coordinates["teacher_weights"] for t in others_in(trials)] == ways
    models = [
        uris.join(run_paths(stage.config).checkpoints, checkpoint_name(steps))
        for stage, steps in zip(stages, (6, 8), strict=True)
    ]
    for trial in others_in(trials):
        assert [t.model for t in trial.config.teachers.values()] == models
        assert trial.config.teachers["de"].languages == ("de",)
        assert set(trial.needs) == {stage.id for stage in stages}


def test_a_teacher_takes_the_place_of_the_bases_and_keeps_its_settings(tmp_path: Path) -> None:
    directory = write_runs(tmp_path, teachers={"old": {"model": "none", "dtype": "bfloat16"}})
    (trial,) = others_in(trials_of(directory))
    assert trial.config.teachers["old"].dtype == "bfloat16"
    (model,) = models_by_teacher(trial.config).values()
    assert model.source.endswith("/checkpoints/step-00000006")


def test_a_unigram_and_a_permuted_teacher_are_alternatives_to_a_teacher(tmp_path: Path) -> None:
    old = {"model": "none", "dtype": "bfloat16", "cache": {}, "languages": ["de"]}
    labels = {"task": "sequence_classification", "teachers": {"old": old}}
    directory = write_runs(tmp_path, **labels)
    # In the masked language model that makes the teacher there are no classes to be permuted.
    model = {"model": str(directory / "none")}
    teachers = {"plain": model, "wrong": model | {"permuted": 3}, "none": {"unigram": {}}}
    expansion = Expansion(sweep_in(directory, teachers=teachers), find_input)
    trials = expansion.runs([{}]).trials
    plain, wrong, unigram = (t.config.teachers["old"] for t in others_in(trials))
    assert wrong == replace(plain, permuted=3)
    assert unigram == TeacherConfig(unigram=UnigramConfig(), languages=("de",))
    assert len({trial.id for trial in others_in(trials)}) == 3
    (control,) = controls_in(trials)
    assert control.config.teachers == {}


def test_a_control_that_follows_a_unigram_is_at_its_coordinate(tmp_path: Path) -> None:
    directory = write_runs(tmp_path, task="sequence_classification", teachers={})
    (control,) = controls_in(
        trials_of(
            directory,
            teachers={"none": {"unigram": {}}},
            overrides={"data.mixing": {"adaptive": {}}},
        )
    )
    assert control.coordinates == {"teacher": "none"}


def test_a_model_of_the_hub_is_known_by_its_revision(directory: Path) -> None:
    found = []
    for revision in ("a1", "b2"):
        hub = {"model": "org/model", "revision": revision}
        stages, trials = expanded(sweep_in(directory, teachers={"hub": hub}))
        (trial,) = others_in(trials)
        assert (stages, trial.needs) == ([], ())
        assert set(trial.config.inputs) == {"data.uri"}
        found.append(trial.id)
    assert found[0] != found[1]


def test_a_teacher_that_is_not_there_is_told(directory: Path) -> None:
    missing = {"model": str(directory / "missing")}
    expansion = Expansion(sweep_in(directory, teachers={"gone": missing}), find_input)
    expansion.runs([{}])
    (problem,) = expansion.missing
    assert str(directory / "missing") in problem


def test_one_run_under_two_names_is_one_stage_that_keeps_what_both_need(directory: Path) -> None:
    early, late = SMALL | {"milestones": [0.5]}, SMALL | {"milestones": [1]}
    for teachers in ({"a": early, "b": late}, {"b": late, "a": early}):
        stages, trials = expanded(sweep_in(directory, teachers=teachers))
        (stage,) = stages
        assert stage.config.checkpoint.milestones == (0.5, 1.0)
        assert stage.coordinates == {"teacher": next(iter(teachers))}
        assert {trial.needs for trial in others_in(trials)} == {(stage.id,)}


def committed(stage: Entry, *steps: int) -> None:
    """Leave checkpoints where a run has been."""
    for step in steps:
        path = Path(run_paths(stage.config).checkpoints, checkpoint_name(step))
        path.mkdir(parents=True)
        (path / COMMITTED).touch()


def test_a_run_that_is_past_a_milestone_is_trained_again(tmp_path: Path) -> None:
    sweep = sweep_in(write_runs(tmp_path), teachers={"a": HALVES})
    ((before,), _) = expanded(sweep)
    committed(before, 4, 6)
    stages, trials = expanded(sweep)
    half, whole = others_in(trials)
    by_id = {stage.id: stage for stage in stages}
    assert len(by_id) == 2
    assert whole.needs == (before.id,)
    (again,) = half.needs
    assert by_id[again].config.name == "teacher-again"
    model = half.config.teachers["old"].model
    assert model == f"{run_paths(by_id[again].config).checkpoints}/step-00000003"
    # What is trained again keeps its own, and is found the next time.
    committed(by_id[again], 3, 6)
    assert identities(expanded(sweep)[1]) == identities(trials)


def test_a_run_that_has_or_will_have_its_milestones_is_used_as_it_is(tmp_path: Path) -> None:
    sweep = sweep_in(write_runs(tmp_path), teachers={"a": HALVES})
    ((before,), trials) = expanded(sweep)
    for steps in ((2,), (3,), (6,)):
        committed(before, *steps)
        assert identities(expanded(sweep)[1]) == identities(trials)


def test_a_trial_is_the_run_that_train_would_name(directory: Path) -> None:
    (stage,), trials = expanded(sweep_in(directory))
    assert run_paths(unpinned(stage.config)).name == stage.id
    train(stage.config)
    (control,), (trial,) = controls_in(trials), others_in(trials)
    assert run_paths(unpinned(control.config)).name == control.id
    teacher = trial.config.teachers["old"]
    # Its last checkpoint, the run, and its model where another copies it: one origin.
    copied = shutil.copytree(f"{run_paths(stage.config).model}", directory / "copy")
    for place in (teacher.model, run_paths(stage.config).run, str(copied)):
        teachers = {"old": replace(teacher, model=place)}
        by_hand = unpinned(replace(trial.config, teachers=teachers))
        assert run_paths(by_hand).name == trial.id


def unpinned(config: RunConfig) -> RunConfig:
    return replace(config, inputs={})
