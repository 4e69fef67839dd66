"""A sweep that is killed everywhere finds what its runs find that nobody touches."""

import contextlib
import os
import random
from pathlib import Path

import pytest
from raykd.config.load import checked_run
from raykd.runs.metrics import evaluations
from raykd.runs.paths import run_paths
from raykd.sweep.record import State

from tests.ray.support import sweep_drivers as drivers
from tests.ray.support.sweep_drivers import kill_driver, kill_head, kill_trial
from tests.sweep_files import WEIGHT, write_runs, write_sweep
from tests.unit.train.test_run import train

pytestmark = [pytest.mark.ray, pytest.mark.long, pytest.mark.timeout(900)]

KILLS = (kill_trial, kill_driver, kill_head, kill_trial, kill_driver)
STEPS_OF_A_RUN = 40
NUM_RUNS = 11
"""A teacher; two qualities of it x two weights x two rates; a control for each rate."""


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    train = {"num_steps": STEPS_OF_A_RUN, "eval_every_steps": 10, "log_every_steps": 1}
    changes = {f"train.{name}": value for name, value in train.items()}
    return write_sweep(
        write_runs(tmp_path),
        {
            "overrides": changes | {"checkpoint.every_steps": 4, "cluster.max_failures": 5},
            "teachers": {"small": {"run": "teacher.yaml", "milestones": [0.5, 1]}},
            "search": {
                WEIGHT: {"grid": [1, "4 -> 1"]},
                "optimizer.learning_rate": {"grid": [1e-3, 1e-2]},
            },
            "max_failures": 5,
        },
    )


def test_five_kills_change_nothing(sweep: Path, tmp_path: Path) -> None:
    # A minute until the driver believes in the death of Ray's head proves nothing more.
    environment = os.environ | {"RAY_gcs_rpc_server_reconnect_timeout_s": "10"}
    total = NUM_RUNS * STEPS_OF_A_RUN
    # Rising moments anywhere in the sweep: every run of the tests tries others.
    moments = sorted(random.Random(os.getpid()).sample(range(1, total * 3 // 4), len(KILLS)))
    with contextlib.ExitStack() as stack:
        driver = stack.enter_context(drivers.started(sweep, environment=environment))
        for moment, kill in zip(moments, KILLS, strict=True):
            drivers.wait_until(
                lambda: drivers.num_steps_done(sweep.parent / "runs") >= moment,  # noqa: B023
                driver,
            )
            kill(driver, sweep)
            if driver.poll() is not None:
                driver = stack.enter_context(drivers.started(sweep, environment=environment))
        drivers.finish(driver, sweep)
    ledger = drivers.ledger_of(sweep)
    assert len(ledger.records) == NUM_RUNS
    for record in ledger.records.values():
        assert record.state is State.DONE
        alone = checked_run(
            record.config | {"output_uri": str(tmp_path / "alone")}, origin=record.id
        )
        train(alone)
        expected = tuple(evaluations(run_paths(alone).metrics))
        assert record.evaluations == expected, (record.id, moments, KILLS)
    attempts = [attempt for record in ledger.records.values() for attempt in record.attempts]
    assert any(attempt.first_step > 0 for attempt in attempts)
    assert drivers.num_errors(ledger) >= 1
