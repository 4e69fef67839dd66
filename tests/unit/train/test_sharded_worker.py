"""A run whose workers share out its student, from its start to the exported model."""

from pathlib import Path

import pytest
import torch
from raykd.config.schema.run import RunConfig
from raykd.distill.world import World
from raykd.models.load import load_model
from raykd.runs.paths import run_paths
from raykd.runs.result import read_result
from raykd.runs.stop import StopReason
from raykd.train.worker import Context, train_worker

from tests.processes import in_processes
from tests.small_runs import TINY_BERT, small_data, small_run

LEFT_AFTER = 4


def train(world: World, config: RunConfig, *, leaves: bool) -> None:
    """Train as one of the workers; the first may hear after some steps that it is to leave."""
    asked = 0

    def stop_reason() -> StopReason:
        nonlocal asked
        asked += 1
        is_time = leaves and world.rank == 0 and asked == LEFT_AFTER
        return StopReason.PREEMPTED if is_time else StopReason.NONE

    context = Context(world=world, report=lambda _: None, stop_reason=stop_reason)
    train_worker(config, run_paths(config), context)


def train_twice(world: World, smooth: RunConfig, bumpy: RunConfig) -> None:
    """Train a run at once, and one that is left and continued."""
    train(world, smooth, leaves=False)
    train(world, bumpy, leaves=True)
    assert read_result(run_paths(bumpy)) is None
    train(world, bumpy, leaves=False)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_sharded_run_goes_on_bit_by_bit_and_exports_its_model(tmp_path: Path) -> None:
    small_data(tmp_path / "data")
    smooth, bumpy = (
        small_run(
            tmp_path,
            output_uri=str(tmp_path / name),
            student={"architecture": TINY_BERT | {"dropout": 0.2}},
            train__eval_first=True,
            cluster={"num_workers": 2, "shard_student": True},
        )
        for name in ("smooth", "bumpy")
    )
    in_processes(train_twice, smooth, bumpy, size=2, store=tmp_path / "store")
    found, expected = (
        load_model(run_paths(run).model, run.task, labels=None).state_dict()
        for run in (bumpy, smooth)
    )
    assert found.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []
    ended, unbroken = (read_result(run_paths(run)) for run in (bumpy, smooth))
    assert ended is not None
    assert unbroken is not None
    assert (ended.is_done, ended.metrics) == (True, unbroken.metrics)
