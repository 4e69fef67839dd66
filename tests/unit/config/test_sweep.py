"""From a sweep file and overrides to a checked sweep."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from raykd.config.keys import key_docs
from raykd.config.kinds import is_sweep
from raykd.config.load import as_yaml, checked_sweep, load_sweep, plain
from raykd.config.schema.sweep import SweepConfig
from raykd.config.yaml_text import read_yaml, write_yaml
from raykd.errors import ConfigError

from tests.unit.config.conftest import MINIMAL

COMPLETE = read_yaml("""\
name: complete
base: base.yaml
output_uri: s3://bucket/sweeps
runs_uri: s3://bucket/runs
overrides: {data.uri: s3://bucket/data, student.init: null}
teachers:
  made: {run: teacher.yaml, overrides: {train.num_steps: 5}, milestones: [0.25, 1]}
  ready: {model: org/model, revision: main}
stages:
  encoder: {run: /runs/encoder.yaml, overrides: {train.num_steps: 5}, milestones: [0.5, 1]}
probes:
  topics: {run: /runs/topics.yaml, overrides: {data.uri: s3://bucket/topics}, seeds: [1, 2],
    at: [0.1, 1], of: [trials, stages], metric: eval/macro_f1, floor: 0.2}
teachers_are: alternatives
search:
  losses.forward_kl.weight: {grid: [0, 0.5, 4 -> 1]}
  student.init: {choice: [null, {remap: {}}]}
  optimizer.learning_rate: {log_uniform: [1e-5, 1e-2]}
  optimizer.weight_decay: {uniform: [0, 0.1]}
pairs:
  size:
    s: {student.architecture.num_layers: 2, student.architecture.num_heads: 2}
    l: {student.architecture.num_layers: 4, student.architecture.num_heads: 4}
exclude:
  - {teacher: made, quality: 0.25, student.init: {remap: {}}}
  - {size: l, losses.forward_kl.weight: 0}
num_samples: 8
searcher: optuna
seed: 3
seeds: [1, 2, 3]
pilot: s3://bucket/sweeps/pilot
controls: false
metric: eval/accuracy
mode: max
scheduler: {asha: {first_rung: 0.1, reduction_factor: 4}}
max_concurrent_trials: 2
trials_per_process: 4
max_failures: 0
time_budget_minutes: 1.5
nodes:
  big: {count: 2, cpus: 16, gpus: 1, memory_gb: 64, gpu_memory_gb: 80}
""")


# A whole file


def test_every_key_is_read_and_written(tmp_path: Path) -> None:
    sweep = checked_sweep(COMPLETE, origin="complete")
    assert plain(sweep)["search"]["student.init"]["choice"] == [None, {"remap": {}}]
    assert sweep.teachers["made"].milestones == (0.25, 1.0)
    assert sweep.search["optimizer.learning_rate"].log_uniform == (1e-5, 1e-2)
    assert sweep.exclude[0]["student.init"] == {"remap": {}}
    path = tmp_path / "sweep.yaml"
    path.write_text(as_yaml(sweep))
    written = load_sweep(path)
    made = replace(sweep.teachers["made"], run=str(tmp_path / "teacher.yaml"))
    assert written == replace(
        sweep, base=str(tmp_path / "base.yaml"), teachers={**sweep.teachers, "made": made}
    )
    assert checked_sweep(plain(sweep), origin="plain") == sweep


def test_the_complete_sweep_has_every_key() -> None:
    default = plain(SweepConfig(name="complete", base="base.yaml"))
    complete = plain(checked_sweep(COMPLETE, origin="complete"))
    assert [key for key, value in default.items() if complete[key] == value] == [
        "name",
        "base",
        "teachers_are",
        # Questions are about arms that are known beforehand, and these are suggested.
        "more_seeds",
        "questions",
        # Values are chosen for a grid, and this one is drawn from.
        "tune",
    ]


def test_all_that_a_sweep_needs_is_a_name_and_a_base(path: Path) -> None:
    sweep = load_sweep(path)
    assert sweep == SweepConfig(name="study", base=str(path.parent / "base.yaml"))


def test_run_files_are_found_from_the_sweep_file(path: Path, tmp_path: Path) -> None:
    teachers = {"a": {"run": "../runs/a.yaml"}, "b": {"run": "/runs/b.yaml"}, "c": {"model": "x"}}
    others = {"stages": {"s": {"run": "s.yaml"}}, "probes": {"p": {"run": "p.yaml"}}}
    given = {"name": "x", "base": "../base.yaml", "teachers": teachers, **others}
    path.write_text(write_yaml(given))
    sweep = load_sweep(path)
    assert sweep.stages["s"].run == f"{tmp_path}/s.yaml"
    assert sweep.probes["p"].run == f"{tmp_path}/p.yaml"
    assert sweep.base == f"{tmp_path}/../base.yaml"
    runs = [teacher.run for teacher in sweep.teachers.values()]
    assert runs == [f"{tmp_path}/../runs/a.yaml", "/runs/b.yaml", None]
    assert sweep.teachers["c"].model == "x"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (MINIMAL, True),
        ("search: {}\n", True),
        ("search: {}\ntask: masked_lm\n", False),
        ("name: run\ntask: masked_lm\n", False),
        ("", False),
    ],
)
def test_a_sweep_is_told_from_a_run(path: Path, text: str, expected: bool) -> None:
    path.write_text(text)
    assert is_sweep(path) == expected


def test_each_key_of_a_sweep_is_explained() -> None:
    documented = {doc.key: doc for doc in key_docs(SweepConfig)}
    for key in plain(SweepConfig(name="x", base="y")):
        assert documented[key].text, key


# Overrides


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("num_samples=1", "num_samples", 1),
        ("seeds=[1, 2]", "seeds", (1, 2)),
        ("controls=false", "controls", False),
        ("output_uri=s3://bucket/x", "output_uri", "s3://bucket/x"),
        ("scheduler.asha.first_rung=0.5", "scheduler", None),
        ("scheduler={}", "scheduler", None),
        ("time_budget_minutes=90", "time_budget_minutes", 90.0),
        ("name=2024-01-01", "name", "2024-01-01"),
    ],
)
def test_an_override_of_a_sweeps_key_replaces_it(
    path: Path, override: str, key: str, value: Any
) -> None:
    found = getattr(load_sweep(path, [override]), key)
    assert found == value if value is not None else found is not None


def test_an_override_of_a_teacher_is_one_of_the_sweep(path: Path) -> None:
    sweep = load_sweep(path, ["teachers.small.model=org/x", "teachers.small.revision=main"])
    assert (sweep.teachers["small"].model, sweep.teachers["small"].revision) == ("org/x", "main")
    assert sweep.overrides == {}


def test_an_override_of_a_runs_key_is_one_of_every_run(path: Path) -> None:
    path.write_text(f"{MINIMAL}overrides: {{data.uri: data/a, train.seed: 1}}\n")
    sweep = load_sweep(path, ["data.uri=s3://b/c=d", "optimizer.learning_rate=1e-3", "student={}"])
    assert sweep.overrides == {
        "train.seed": 1,
        "data.uri": "s3://b/c=d",
        "optimizer.learning_rate": 1e-3,
        "student": {},
    }


def test_the_later_override_of_runs_is_applied_last(path: Path) -> None:
    path.write_text(f"{MINIMAL}overrides: {{train.seed: 1}}\n")
    overrides = ["train.seed=2", "train={num_steps: 2}", "train.seed=3"]
    assert list(load_sweep(path, overrides).overrides.items()) == [
        ("train", {"num_steps": 2}),
        ("train.seed", 3),
    ]


def test_overrides_may_be_named_as_in_the_file(path: Path) -> None:
    path.write_text(f"{MINIMAL}overrides: {{train.seed: 1}}\n")
    assert load_sweep(path, ["overrides.train.seed=2"]).overrides == {"train.seed": 2}
    assert load_sweep(path, ["overrides={data.uri: x}"]).overrides == {"data.uri": "x"}


def test_an_override_of_a_teachers_run_leaves_its_others(path: Path) -> None:
    teacher = {"run": "/teacher.yaml", "overrides": {"train.num_steps": 5, "data.uri": "x"}}
    path.write_text(MINIMAL + write_yaml({"teachers": {"a": teacher, "b": {"run": "/b.yaml"}}}))
    overrides = ["teachers.a.overrides.train.num_steps=9", "teachers.b.overrides.train.seed=2"]
    sweep = load_sweep(path, overrides)
    assert sweep.teachers["a"].overrides == {"data.uri": "x", "train.num_steps": 9}
    assert sweep.teachers["b"].overrides == {"train.seed": 2}
    assert sweep.teachers["b"].run == "/b.yaml"


@pytest.mark.parametrize("empty", ["overrides:\n", "overrides: {}\n", ""])
def test_overrides_may_be_empty(path: Path, empty: str) -> None:
    path.write_text(MINIMAL + empty)
    assert load_sweep(path, ["train.seed=2"]).overrides == {"train.seed": 2}


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("train.seed", "must have the form key=value"),
        ("=3", "must have the form key=value"),
        ("train..seed=3", "must have the form key=value"),
        ("train.seed=[1", "the value is no YAML"),
        ("num_samples=[1", "the value is no YAML"),
    ],
)
def test_an_override_that_cannot_be_applied_is_shown(
    path: Path, override: str, reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason) as error:
        load_sweep(path, [override])
    assert str(error.value).startswith(f"override {override!r}")
