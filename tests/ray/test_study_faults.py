"""A study of stages, tuned values and probes that is killed finds what its runs find alone."""

import contextlib
import functools
import os
import random
from collections import Counter
from pathlib import Path

import pytest
from raykd.config.load import checked_run
from raykd.report.summary import summarise
from raykd.runs.metrics import evaluations
from raykd.runs.paths import run_paths
from raykd.sweep.ledger import State

from tests.ray.support import sweep_drivers as drivers
from tests.ray.support.sweep_drivers import kill_driver, kill_head, kill_trial
from tests.study_files import STUDY, write_study
from tests.unit.train.test_run import train

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1800)]

STEPS_OF_A_RUN = 10
NUM_RUNS = {"stage": 2, "tuning": 8, "trial": 4, "probe": 12}
KILLS = (
    kill_driver,
    kill_head,
    functools.partial(kill_trial, runs="topics-*"),
    functools.partial(kill_trial, runs="student-*"),
)


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
    generator = random.Random(os.getpid())
    kills = generator.sample(KILLS, len(KILLS))
    runs = study.parent / "runs"
    with contextlib.ExitStack() as stack:
        driver = stack.enter_context(drivers.started(study, environment=environment))
        for kill in kills:
            moment = drivers.num_steps_done(runs) + generator.randint(1, 4 * STEPS_OF_A_RUN)
            drivers.wait_until(lambda: drivers.num_steps_done(runs) >= moment, driver)  # noqa: B023
            kill(driver, study)
            if driver.poll() is not None:
                driver = stack.enter_context(drivers.started(study, environment=environment))
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
        assert record.evaluations == expected, (record.id, kills)
    arms = summarise(ledger).arms
    assert len(arms) == NUM_RUNS["trial"]
    assert all(arm.mean is not None for arm in arms)
