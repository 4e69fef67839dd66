"""Every reason why a text is no sweep is told, all at once."""

from pathlib import Path
from typing import Any

import pytest
from raykd.config.kinds import is_sweep
from raykd.config.load import load_sweep
from raykd.config.yaml_text import write_yaml
from raykd.errors import ConfigError

from tests.unit.config.conftest import MINIMAL


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
        ({"teachers": {"a": {}}}, "teachers.a needs exactly one of run, model and unigram"),
        (
            {"teachers": {"a": {"run": "x", "model": "y"}}},
            "teachers.a needs exactly one of run, model and unigram",
        ),
        (
            {"teachers": {"a": {"model": "y", "milestones": [0.5]}}},
            "teachers.a: overrides and milestones belong to a run",
        ),
        (
            {"teachers": {"a": {"unigram": {}, "model": "y"}}},
            "teachers.a needs exactly one of run, model and unigram",
        ),
        (
            {"teachers": {"a": {"unigram": {}, "overrides": {"train.seed": 1}}}},
            "teachers.a: overrides and milestones belong to a run",
        ),
        (
            {"teachers": {"a": {"unigram": {}, "cache": {}}}},
            "teachers.a: revision and cache belong to a model, not to a unigram",
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
            {"pairs": {"x": {"s": {"name": "s"}, "l": {"name": "l", "task": "causal_lm"}}}},
            "pairs.x.s lacks task: all values must give the same keys",
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
            "pairs.teacher: the name is taken, by teachers or controls",
        ),
        ({"exclude": [{"size": "s"}]}, "exclude[0] names size, which is no coordinate"),
        ({"num_samples": 0}, "num_samples must be >= 1"),
        ({"num_samples": 2}, "num_samples needs a key that is drawn"),
        ({"searcher": "optuna"}, "searcher=optuna needs a key that is drawn"),
        ({"seeds": [1, 1]}, "seeds has one twice"),
        ({"trials_per_process": 0}, "trials_per_process must be >= 1, got 0"),
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
