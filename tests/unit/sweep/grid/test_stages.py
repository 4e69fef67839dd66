"""Stages: what a study names as stage:NAME is trained once, before whatever needs it."""

from pathlib import Path
from typing import Any

import pytest
from raykd.errors import ConfigError
from raykd.runs.inputs import find_input
from raykd.runs.paths import run_paths
from raykd.sweep.grid.entry import Entry
from raykd.sweep.grid.expand import Expansion

from tests.study_files import STUDY, study_in

ENCODER = STUDY["stages"]["encoder"]
TEACHER = STUDY["teachers"]["tuned"]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study")


def stages_of(directory: Path, **changes: Any) -> list[Entry]:
    return list(Expansion(study_in(directory, **changes), find_input).stages)


def refusal(directory: Path, **changes: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        Expansion(study_in(directory, **changes), find_input).runs([{}])
    return str(refused.value)


def test_a_stage_is_before_the_teacher_that_begins_at_it(directory: Path) -> None:
    encoder, teacher = stages_of(directory)
    assert (encoder.coordinates, teacher.coordinates) == (
        {"stage": "encoder"},
        {"teacher": "tuned"},
    )
    assert teacher.needs == (encoder.id,)
    place = run_paths(encoder.config).checkpoints
    assert teacher.config.student.pretrained == f"{place}/step-00000010"


def test_a_teacher_and_a_student_may_begin_at_a_milestone(directory: Path) -> None:
    half = TEACHER | {
        "overrides": TEACHER["overrides"] | {"student.pretrained": "stage:encoder@0.5"}
    }
    encoder, teacher = stages_of(directory, teachers={"tuned": half})
    assert (teacher.config.student.pretrained or "").endswith("/step-00000005")
    assert encoder.config.checkpoint.milestones == (0.5, 1.0)
    assert teacher.id not in {entry.id for entry in stages_of(directory)}


def test_what_begins_at_the_best_of_a_run_begins_at_what_that_exports(directory: Path) -> None:
    best = ENCODER | {"overrides": {"train.keep": "best"}}
    sweep = study_in(directory, stages={"encoder": best}, overrides={"train.keep": "best"})
    expansion = Expansion(sweep, find_input)
    encoder, teacher = expansion.stages
    paths = run_paths(encoder.config)
    assert teacher.config.student.pretrained == paths.model
    assert teacher.config.inputs["student.pretrained"] == f"{paths.name}/best"
    trial = expansion.runs([{}]).trials[0]
    probes = expansion.probes_of(trial, num_steps=10)
    places = run_paths(trial.config)
    # On its way no step is the best yet.
    begin = [f"{places.checkpoints}/step-00000001", places.model]
    assert [probe.config.student.pretrained for probe in probes] == begin * 2


def test_stages_stand_on_stages_in_whatever_order_they_are_written(directory: Path) -> None:
    begin = {"student.pretrained": "stage:encoder", "student.architecture": None}
    longer = {"run": "encoder.yaml", "overrides": {**begin, "train.num_steps": 20}}
    stages = {"longer": longer, "encoder": ENCODER}
    teacher = TEACHER | {
        "overrides": TEACHER["overrides"] | {"student.pretrained": "stage:longer"}
    }
    entries = stages_of(directory, stages=stages, teachers={"tuned": teacher})
    assert [list(entry.coordinates.values()) for entry in entries] == [
        ["encoder"],
        ["longer"],
        ["tuned"],
    ]
    assert [entry.needs for entry in entries[1:]] == [(entries[0].id,), (entries[1].id,)]


def test_a_teacher_may_be_a_stage_itself(directory: Path) -> None:
    stages = {
        "encoder": ENCODER,
        "judge": {"run": "classifier.yaml", "overrides": TEACHER["overrides"]},
    }
    sweep = study_in(directory, stages=stages, teachers={"tuned": {"model": "stage:judge"}})
    expansion = Expansion(sweep, find_input)
    judge = expansion.stages[1]
    taught = [e for e in expansion.runs([{}]).trials if e.config.teachers]
    models = {e.config.teachers["teacher"].model for e in taught}
    assert models == {f"{run_paths(judge.config).checkpoints}/step-00000010"}
    assert all(judge.id in e.needs for e in taught)


def test_the_same_run_under_two_names_is_one_stage(directory: Path) -> None:
    twin = {"stages": {"encoder": ENCODER, "twin": {"run": "encoder.yaml"}}}
    pairs = {"start": {"twin": {"student.init": {"copy_layers": {"source": "stage:twin"}}}}}
    assert len(stages_of(directory, **twin, pairs=pairs)) == 2


def test_another_encoder_makes_all_that_follows_from_it_other_runs(directory: Path) -> None:
    changed = ENCODER | {"overrides": {"train.seed": 5}}
    before, after = stages_of(directory), stages_of(directory, stages={"encoder": changed})
    assert not {entry.id for entry in before} & {entry.id for entry in after}


def test_a_circle_is_named(directory: Path) -> None:
    stages = {
        "a": {"run": "classifier.yaml", "overrides": {"student.pretrained": "stage:b"}},
        "b": {"run": "classifier.yaml", "overrides": {"student.pretrained": "stage:a"}},
    }
    teachers = {"tuned": {"model": "stage:a"}}
    text = refusal(directory, stages=stages, teachers=teachers, pairs={})
    assert "stages.a" in text
    assert "stages.b" in text
    assert "needs itself" in text


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("stage:absent", "stage:absent names no stage of the study: they are encoder"),
        (
            "stage:encoder@0.3",
            "stage:encoder@0.3 is not kept: stages.encoder.milestones is [0.5, 1]",
        ),
        ("stage:encoder@half", "stage:encoder@half must be as stage:NAME or stage:NAME@0.25"),
        ("stage:encoder@0..5", "stage:encoder@0..5 must be as stage:NAME or stage:NAME@0.25"),
    ],
)
def test_a_stage_that_is_not_there_is_told_with_its_key(
    directory: Path, name: str, message: str
) -> None:
    start = {"student.init": {"copy_layers": {"source": name}}}
    text = refusal(
        directory, pairs={"start": {"one": start, "two": STUDY["pairs"]["start"]["base"]}}
    )
    assert f"student.init.copy_layers.source: {message}" in text


def test_whose_run_names_a_stage_that_is_not_there_is_told(directory: Path) -> None:
    begin = {"student.pretrained": "stage:encoder@0.3", "student.architecture": None}
    teachers = {"tuned": TEACHER | {"overrides": begin}}
    assert refusal(directory, teachers=teachers).startswith(
        "teachers.tuned: student.pretrained: stage:encoder@0.3 is not kept"
    )
    probe = STUDY["probes"]["topics"] | {
        "overrides": {"teachers": {"a": {"model": "stage:absent"}}, "losses": {"logit_mse": {}}}
    }
    assert refusal(directory, probes={"topics": probe}, metric="eval/loss", mode="min").startswith(
        "probes.topics: teachers.a.model: stage:absent names no stage"
    )


def test_a_stage_where_no_model_is_named_is_told(directory: Path) -> None:
    text = refusal(directory, overrides={"data.uri": "stage:encoder"})
    assert text.startswith("teachers.tuned: data.uri: stage:encoder is a model, which data.uri")


def test_a_stage_that_nobody_names_is_refused(directory: Path) -> None:
    text = refusal(directory, stages={"encoder": ENCODER, "idle": {"run": "encoder.yaml"}})
    assert text == "stages.idle: no run of the study names stage:idle: leave it out"


def test_what_the_command_line_says_of_data_is_not_for_stages(directory: Path) -> None:
    overrides = {"train.seed": 7, "checkpoint.keep_last": 9}
    encoder, teacher = stages_of(directory, overrides=overrides)
    assert (encoder.config.train.seed, teacher.config.train.seed) == (17, 7)
    assert encoder.config.checkpoint.keep_last == 9
