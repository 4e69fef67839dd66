"""A run of several workers inside a trial, before it has any."""

from pathlib import Path

import pytest
from raykd.runs.stop import StopReason
from raykd.train.run import leased_run
from raykd.tune.with_workers import train_with_workers

from tests.small_runs import small_data, small_run

pytestmark = pytest.mark.slow


def test_a_run_that_waits_for_another_driver_stops_when_asked(tmp_path: Path) -> None:
    small_data(tmp_path / "data")
    config = small_run(tmp_path, cluster={"num_workers": 2})
    looks = iter([StopReason.NONE, StopReason.NONE])
    with leased_run(config, has_workers=True):
        reason = train_with_workers(config, stop_reason=lambda: next(looks, StopReason.STOPPED))
    assert reason is StopReason.STOPPED
