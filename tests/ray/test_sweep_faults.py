"""A sweep that is killed everywhere ends in the table of the sweep that nobody touched."""

import contextlib
import os
import random
from pathlib import Path
from typing import Any

import pytest
from raykd.sweep.ledger import read_ledger

from tests.ray import sweep_drivers as drivers
from tests.ray.sweep_drivers import kill_driver, kill_head, kill_trial
from tests.sweep_files import WEIGHT, write_runs, write_sweep

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

KILLS = (kill_trial, kill_driver, kill_head, kill_trial, kill_driver)
STEPS_OF_A_RUN = 40


def sweep_of(directory: Path, **given: Any) -> Path:
    train = {"num_steps": STEPS_OF_A_RUN, "eval_every_steps": 10, "log_every_steps": 1}
    changes = {f"train.{name}": value for name, value in train.items()}
    return write_sweep(
        write_runs(directory),
        {
            "overrides": changes | {"checkpoint.every_steps": 4, "cluster.max_failures": 5},
            "teachers": {"small": {"run": "teacher.yaml", "milestones": [0.5, 1]}},
            "search": {
                WEIGHT: {"grid": [0, 1, "4 -> 1"]},
                "optimizer.learning_rate": {"grid": [1e-3, 1e-2]},
            },
            "max_failures": 5,
            **given,
        },
    )


def test_five_kills_change_nothing(tmp_path: Path) -> None:
    smooth, bumpy = tmp_path / "smooth", tmp_path / "bumpy"
    smooth.mkdir()
    bumpy.mkdir()
    sweep = sweep_of(smooth)
    with drivers.started(sweep) as driver:
        drivers.finish(driver, sweep)
    expected = drivers.table(read_ledger(str(smooth / "sweeps" / "study")))
    sweep, runs = sweep_of(bumpy), bumpy / "runs"
    total = len(expected) * STEPS_OF_A_RUN
    # Rising moments anywhere in the sweep: every run of the tests tries others.
    moments = sorted(random.Random(os.getpid()).sample(range(1, total * 3 // 4), len(KILLS)))
    with contextlib.ExitStack() as stack:
        driver = stack.enter_context(drivers.started(sweep))
        for moment, kill in zip(moments, KILLS, strict=True):
            drivers.wait_until(lambda: drivers.num_steps_done(runs) >= moment, driver)  # noqa: B023
            kill(driver, runs)
            if driver.poll() is not None:
                driver = stack.enter_context(drivers.started(sweep))
        drivers.finish(driver, sweep)
    ledger = read_ledger(str(bumpy / "sweeps" / "study"))
    assert drivers.table(ledger) == expected, (moments, KILLS)
    attempts = [attempt for record in ledger.records.values() for attempt in record.attempts]
    assert any(attempt.first_step > 0 for attempt in attempts)
    assert sum(attempt.error_class is not None for attempt in attempts) >= 1
