"""A study of stages, tuned values and probes that is killed finds what its runs find alone."""

import contextlib
import os
import random
from collections import Counter
from pathlib import Path

import pytest
from raykd.config.load import checked_run
from raykd.report.summary import summarise
from raykd.runs.metrics import evaluations
from raykd.runs.paths import run_paths
from raykd.sweep.record import State

from tests.ray.support import sweep_drivers as drivers
from tests.study_files import STUDY, write_study
from tests.unit.train.test_run import train

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

STEPS_OF_A_RUN = 10
NUM_RUNS = {"stage": 2, "tuning": 8, "trial": 4, "probe": 12}
TRIALS, PROBES = "student-*", "topics-*"
"""Names of the runs that learn from the teacher, and of those that score them."""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    starts = STUDY["pairs"]["start"]
    probes = STUDY["probes"]
    return write_study(
        tmp_path,
        overrides={"train.log_every_steps": 1, "checkpoint.every_steps": 2},
        teachers={"tuned": STUDY["teachers"]["tuned"] | {"milestones": [1]}},
        pairs={"start": {name: starts[name] for name in ("random", "tuned")}},
        probes={
            "topics": probes["topics"] | {"at": [0.5, 1]},
            "tags": probes["tags"] | {"at": [1]},
        },
        tune={
            "values": {"optimizer.learning_rate": [1e-2, 1e-3]},
            "seeds": [101],
            "per": ["start"],
            "metric": "eval/loss",
            "mode": "min",
        },
        seeds=[1],
        max_failures=5,
    )


def test_a_study_that_is_killed_has_the_tables_of_one_that_is_not(
    study: Path, tmp_path: Path
) -> None:
    # A minute until the driver believes in the death of Ray's head proves nothing more.
    environment = os.environ | {"RAY_gcs_rpc_server_reconnect_timeout_s": "10"}
    runs = study.parent / "runs"
    # Rising moments before there is any probe: every run of the test tries others.
    moments = sorted(random.Random(os.getpid()).sample(range(1, 8 * STEPS_OF_A_RUN), 2))
    with contextlib.ExitStack() as stack:
        driver = stack.enter_context(drivers.started(study, environment=environment))
        for moment, kill in zip(moments, (drivers.kill_driver, drivers.kill_head), strict=True):
            drivers.wait_until(lambda: drivers.num_steps_done(runs) >= moment, driver)  # noqa: B023
            kill(driver, study)
            driver = stack.enter_context(drivers.started(study, environment=environment))
        drivers.kill_trial(driver, study, runs=TRIALS)
        drivers.kill_trial(driver, study, runs=PROBES)
        drivers.finish(driver, study)
    ledger = drivers.ledger_of(study)
    records = ledger.records.values()
    assert Counter(record.kind for record in records) == NUM_RUNS
    assert {record.state for record in records} == {State.DONE}
    for record in records:
        alone = checked_run(
            record.config | {"output_uri": str(tmp_path / "alone")}, origin=record.id
        )
        train(alone)
        expected = tuple(evaluations(run_paths(alone).metrics))
        assert record.evaluations == expected, (record.id, moments)
    arms = summarise(ledger).arms
    assert len(arms) == NUM_RUNS["trial"]
    assert all(arm.mean is not None for arm in arms)
