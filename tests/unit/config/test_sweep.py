"""From a sweep file and overrides to a checked sweep, or to every reason why not."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from raykd.config.keys import key_docs
from raykd.config.load import as_yaml, checked_sweep, is_sweep, load_sweep, plain
from raykd.config.schema.sweep import SweepConfig
from raykd.config.yaml_text import read_yaml, write_yaml
from raykd.errors import ConfigError

from tests.prepared import write_prepared
from tests.sweep_files import expanded

ROOT = Path(__file__).parents[3]
SWEEPS = sorted((ROOT / "configs" / "sweeps").glob("*.yaml"))

MINIMAL = "name: study\nbase: base.yaml\n"

COMPLETE = read_yaml("""\
name: complete
base: base.yaml
output_uri: s3://bucket/sweeps
runs_uri: s3://bucket/runs
overrides: {data.uri: s3://bucket/data, student.init: null}
teachers:
  made: {run: teacher.yaml, overrides: {train.num_steps: 5}, milestones: [0.25, 1]}
  ready: {model: org/model, revision: main}
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
controls: false
metric: eval/accuracy
mode: max
scheduler: {asha: {first_rung: 0.1, reduction_factor: 4}}
max_concurrent_trials: 2
max_failures: 0
time_budget_minutes: 1.5
nodes:
  big: {count: 2, cpus: 16, gpus: 1, memory_gb: 64, gpu_memory_gb: 80}
""")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "sweep.yaml"
    file.write_text(MINIMAL)
    return file


def reasons(path: Path, *overrides: str) -> list[str]:
    """Return what is wrong with a sweep, line by line, without the heading."""
    with pytest.raises(ConfigError) as error:
        load_sweep(path, overrides)
    heading, *lines = str(error.value).splitlines()
    assert heading == f"{path}: {len(lines)} problem(s)"
    return [line.removeprefix("  - ") for line in lines]


def reasons_of(path: Path, given: dict[str, Any]) -> list[str]:
    path.write_text(MINIMAL + write_yaml(given))
    return reasons(path)


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
    ]


def test_all_that_a_sweep_needs_is_a_name_and_a_base(path: Path) -> None:
    sweep = load_sweep(path)
    assert sweep == SweepConfig(name="study", base=str(path.parent / "base.yaml"))


def test_run_files_are_found_from_the_sweep_file(path: Path, tmp_path: Path) -> None:
    teachers = {"a": {"run": "../runs/a.yaml"}, "b": {"run": "/runs/b.yaml"}, "c": {"model": "x"}}
    path.write_text(write_yaml({"name": "x", "base": "../base.yaml", "teachers": teachers}))
    sweep = load_sweep(path)
    assert sweep.base == f"{tmp_path}/../base.yaml"
    runs = [teacher.run for teacher in sweep.teachers.values()]
    assert runs == [f"{tmp_path}/../runs/a.yaml", "/runs/b.yaml", None]
    assert sweep.teachers["c"].model == "x"


@pytest.mark.parametrize(
    ("text", "expected"), [(MINIMAL, True), ("name: run\ntask: masked_lm\n", False), ("", False)]
)
def test_a_sweep_is_told_from_a_run(path: Path, text: str, expected: bool) -> None:
    path.write_text(text)
    assert is_sweep(path) == expected


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


# Keys and types


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"num_sample": 3}, "num_sample: no such key; did you mean num_samples?"),
        (
            {"teachers": {"a": {"runs": "x"}}},
            "teachers.a.runs: no such key; did you mean teachers.<name>.run?",
        ),
        ({"scheduler": {"ahsa": {}}}, "scheduler.ahsa: no such key; did you mean scheduler.asha?"),
        ({"num_samples": "many"}, "num_samples: expected int, got 'many'"),
        ({"seeds": 3}, "seeds: expected list of int, got 3"),
        ({"mode": "least"}, "mode: expected min | max, got 'least'"),
        ({"teachers_are": "both"}, "teachers_are: expected alternatives | together, got 'both'"),
        ({"search": {"train.seed": [1, 2]}}, None),
        ({"overrides": ["train.seed=1"]}, None),
        ({"teachers": {"a": "runs/x"}}, None),
        ({"teachers": ["a"]}, None),
        ({"pairs": {"a": {"b": 3}}}, None),
        ({"exclude": {"teacher": "a"}}, None),
        ({"nodes": {"big": {"gpus": 1}}}, "nodes.big.cpus is required"),
        ({"time_budget_minutes": float("inf")}, "time_budget_minutes must be a finite number"),
        ({"metric": "${oc.env:HOME}"}, "metric: ${...} is not replaced"),
        ({"overrides": {"data.uri": "${x}"}}, "overrides.data.uri: ${...} is not replaced"),
    ],
)
def test_what_is_no_key_or_has_the_wrong_type_is_told(
    path: Path, given: dict[str, Any], reason: str | None
) -> None:
    (found,) = reasons_of(path, given)
    assert found.startswith(reason or next(iter(given)))


def test_name_and_base_are_required(path: Path) -> None:
    path.write_text("num_samples: 1\n")
    assert reasons(path) == ["base is required", "name is required"]


def test_a_file_that_is_no_sweep_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_sweep(tmp_path / "gone.yaml")
    (tmp_path / "list.yaml").write_text("[1, 2]\n")
    with pytest.raises(ConfigError, match="must hold a mapping"):
        is_sweep(tmp_path / "list.yaml")


# What contradicts itself

DRAWN = {"search": {"optimizer.learning_rate": {"uniform": [0.1, 1]}}}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"name": "a/b"}, "name must consist of letters, digits"),
        ({"teachers": {"a": {}}}, "teachers.a needs exactly one of run and model"),
        (
            {"teachers": {"a": {"run": "x", "model": "y"}}},
            "teachers.a needs exactly one of run and model",
        ),
        (
            {"teachers": {"a": {"model": "y", "milestones": [0.5]}}},
            "teachers.a: overrides and milestones belong to a run",
        ),
        ({"teachers": {"a": {"run": "x", "milestones": []}}}, "teachers.a.milestones must be in"),
        (
            {"teachers": {"a": {"run": "x", "milestones": [0]}}},
            "teachers.a.milestones must be in (0, 1], got [0.0]",
        ),
        (
            {"teachers": {"a": {"run": "x", "milestones": [0.5, 0.5]}}},
            "teachers.a.milestones has one twice",
        ),
        (
            {
                "teachers": {"a": {"run": "x", "milestones": [0.5, 1]}},
                "teachers_are": "together",
            },
            "teachers.a.milestones: together, each has one quality",
        ),
        (
            {"search": {"train.num_steps": {}}},
            "search.train.num_steps needs exactly one of grid, choice, uniform and log_uniform, "
            "got none",
        ),
        (
            {"search": {"train.num_steps": {"grid": [1], "choice": [2]}}},
            "search.train.num_steps needs exactly one of grid, choice, uniform and log_uniform, "
            "got grid, choice",
        ),
        ({"search": {"train.num_steps": {"grid": []}}}, "search.train.num_steps.grid is empty"),
        (
            {"search": {"train.num_steps": {"choice": []}}},
            "search.train.num_steps.choice is empty",
        ),
        (
            {"search": {"optimizer.beta1": {"uniform": [1, 1]}}},
            "search.optimizer.beta1.uniform must be [low, high] with low < high",
        ),
        (
            {"search": {"optimizer.beta1": {"log_uniform": [0, 1]}}},
            "search.optimizer.beta1.log_uniform must begin above 0",
        ),
        (
            {"search": {"optimizer.beta1": {"uniform": [0, float("inf")]}}},
            "search.optimizer.beta1.uniform must be [low, high]",
        ),
        ({"search": {"train.seed": {"grid": [1, 2]}}}, "train.seed is searched: give seeds"),
        ({"pairs": {"size": {}}}, "pairs.size is empty"),
        (
            {"pairs": {"size": {"s": {"train.num_steps": 1}, "l": {"train.num_epochs": 1}}}},
            "pairs.size: all values must give the same keys",
        ),
        (
            {
                "pairs": {"size": {"s": {"train.num_steps": 1}}},
                "search": {"train.num_steps": {"grid": [1]}},
            },
            "train.num_steps is searched twice",
        ),
        (
            {
                "pairs": {
                    "size": {"s": {"train.num_steps": 1}},
                    "time": {"s": {"train.num_steps": 1}},
                }
            },
            "train.num_steps is searched twice",
        ),
        (
            {"pairs": {"teacher": {"s": {"train.num_steps": 1}}}},
            "pairs.teacher: the name is that of the teachers' axis",
        ),
        ({"exclude": [{"size": "s"}]}, "exclude[0] names size, which is no coordinate"),
        ({"num_samples": 0}, "num_samples must be >= 1"),
        ({"num_samples": 2}, "num_samples needs a key that is drawn"),
        ({"searcher": "optuna"}, "searcher=optuna needs a key that is drawn"),
        ({"seeds": [1, 1]}, "seeds has one twice"),
        ({"max_concurrent_trials": 0}, "max_concurrent_trials must be >= 1"),
        ({"max_failures": -1}, "max_failures must be >= 0"),
        ({"time_budget_minutes": 0}, "time_budget_minutes must be > 0"),
        ({"scheduler": {"asha": {"first_rung": 1}}}, "scheduler.asha.first_rung must be in"),
        (
            {"scheduler": {"asha": {"reduction_factor": 1}}},
            "scheduler.asha.reduction_factor must be > 1",
        ),
        ({"nodes": {"big": {"cpus": 0}}}, "nodes.big.cpus must be > 0"),
        ({"nodes": {"big": {"cpus": 1, "count": 0}}}, "nodes.big.count must be >= 1"),
        ({"nodes": {"big": {"cpus": 1, "gpus": -1}}}, "nodes.big.gpus must be >= 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_sweep_that_contradicts_itself_is_told_why(
    path: Path, given: dict[str, Any], reason: str
) -> None:
    if "name" in given:
        path.write_text(write_yaml({"base": "base.yaml", **given}))
        (found,) = reasons(path)
    else:
        (found,) = reasons_of(path, given)
    assert found.startswith(reason)


def test_every_problem_is_told_at_once(path: Path) -> None:
    given = {
        "num_samples": 0,
        "modus": "max",
        "seeds": "few",
        "teachers": {"a": {}, "b": {"model": "x", "milestons": [1]}},
        "max_failures": -1,
    }
    found = reasons_of(path, given)
    for beginning in (
        "num_samples must",
        "modus: no such",
        "seeds: expected",
        "max_failures must",
    ):
        assert len([r for r in found if r.startswith(beginning)]) == 1, found
    assert any(r.startswith("teachers.b.milestons: no such key") for r in found)


def test_the_name_of_a_pair_is_no_key_that_is_searched(path: Path) -> None:
    given = {
        "pairs": {"train.num_steps": {"s": {"train.num_epochs": 1}}},
        "search": {"train.num_steps": {"grid": [1]}},
    }
    (found,) = reasons_of(path, given)
    assert found.startswith("pairs.train.num_steps: the name is that of a searched key")


def test_what_is_drawn_allows_samples_and_optuna(path: Path) -> None:
    path.write_text(MINIMAL + write_yaml(DRAWN | {"num_samples": 5, "searcher": "optuna"}))
    assert load_sweep(path).num_samples == 5


def test_each_key_of_a_sweep_is_explained() -> None:
    documented = {doc.key: doc for doc in key_docs(SweepConfig)}
    for key in plain(SweepConfig(name="x", base="y")):
        assert documented[key].text, key


# What is shipped


def test_there_are_sweep_files() -> None:
    assert "demo.yaml" in {path.name for path in SWEEPS}


@pytest.fixture(scope="module")
def shipped_data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Publish data in every language that a shipped file names."""
    texts = (path.read_text() for path in (ROOT / "configs").rglob("*.yaml"))
    languages = {name for text in texts for name in re.findall(r"[a-z]{3}_[A-Z][a-z]{3}", text)}
    splits = {split: {name: [9] for name in languages} for split in ("train", "validation")}
    path = tmp_path_factory.mktemp("shipped") / "data"
    write_prepared(path, splits, labels=("a", "b", "c"))
    return str(path)


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.name)
def test_a_shipped_sweep_loads_under_its_own_name_and_each_of_its_runs_checks(
    path: Path, shipped_data: str, tmp_path: Path
) -> None:
    sweep = load_sweep(path, [f"data.uri={shipped_data}", f"runs_uri={tmp_path}/runs"])
    assert sweep.name == path.stem.replace("_", "-")
    # One sample and seed show every point: what follows differs in values alone.
    stages, trials = expanded(replace(sweep, num_samples=1, searcher="random", seeds=()))
    assert trials
    for entry in [*stages, *trials]:
        assert entry.config.problems() == []
