"""A trace holds the steps that were asked for, appears as a whole, and changes no number."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from raykd.config.identity import run_id
from raykd.config.schema.run import RunConfig
from raykd.distill.world import World
from raykd.errors import ConfigError
from raykd.runs.metrics import read_metrics
from raykd.runs.paths import RunPaths
from raykd.runs.stop import StopReason
from raykd.train.worker import Context, train_worker

from tests.small_runs import small_data, small_run


def trained(config: RunConfig, directory: Path, *, last: int = 100) -> RunPaths:
    """Train a run in a directory, up to a step."""
    paths = RunPaths(str(directory))
    taken = iter(range(1, last))

    def stop_reason() -> StopReason:
        return StopReason.STOPPED if next(taken, None) is None else StopReason.NONE

    train_worker(
        config, paths, Context(world=World(), report=lambda _: None, stop_reason=stop_reason)
    )
    return paths


def events(paths: RunPaths) -> list[dict[str, Any]]:
    content: dict[str, Any] = json.loads(gzip.decompress(Path(paths.profile).read_bytes()))
    found: list[dict[str, Any]] = content["traceEvents"]
    return found


def steps_of(paths: RunPaths) -> list[str]:
    names = {str(event["name"]) for event in events(paths)}
    return sorted(name for name in names if name.startswith("step "))


def losses(paths: RunPaths) -> list[float]:
    return [r["train/loss"] for r in read_metrics(paths.metrics) if "train/loss" in r]


def test_a_trace_has_the_operations_of_its_steps_and_changes_no_number(tmp_path: Path) -> None:
    small_data(tmp_path / "data")
    plain = small_run(tmp_path)
    profiled = small_run(tmp_path, train__profile_steps=[2, 3])
    assert run_id(profiled) == run_id(plain)
    without = trained(plain, tmp_path / "plain")
    paths = trained(profiled, tmp_path / "profiled")
    assert losses(paths) == losses(without)
    assert steps_of(paths) == ["step 2", "step 3"]
    names = {event["name"] for event in events(paths)}
    assert {"aten::addmm", "Optimizer.step#AdamW.step"} <= names
    assert not Path(without.profile).exists()


def test_a_run_that_ends_within_leaves_no_trace_and_one_that_goes_on_traces_the_rest(
    tmp_path: Path,
) -> None:
    small_data(tmp_path / "data")
    config = small_run(tmp_path, train__profile_steps=[2, 4])
    paths = trained(config, tmp_path / "run", last=3)
    assert not Path(paths.profile).exists()
    trained(config, tmp_path / "run")
    assert steps_of(paths) == ["step 4"]


def test_every_metric_of_training_is_in_the_documentation(tmp_path: Path) -> None:
    small_data(tmp_path / "data")
    records = read_metrics(trained(small_run(tmp_path), tmp_path / "run").metrics)
    names = {name for record in records for name in record if name.startswith("train/")}
    page = Path("docs/where-it-runs.md").read_text()
    assert {name for name in names if f"`{name}`" not in page} == {"train/loss/cross_entropy"}
    assert all(0 <= r["train/data_wait_share"] <= 1 for r in records if "train/mfu" in r)


@pytest.mark.parametrize("steps", [[], [3], [3, 2], [0, 1], [1, 7], [1, 2, 3]])
def test_steps_that_cannot_be_recorded_are_one_error(tmp_path: Path, steps: list[int]) -> None:
    with pytest.raises(ConfigError, match=r"train\.profile_steps must be .*; got \["):
        small_run(tmp_path, train__profile_steps=steps)
