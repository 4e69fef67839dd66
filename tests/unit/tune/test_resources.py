"""What Ray Tune reserves for a trial."""

import json
from typing import Any

import pytest
from raykd.tune.run import _resources


@pytest.mark.parametrize(
    ("cluster", "bundles"),
    [
        ((0, 1, 0), [{"CPU": 1}]),
        ((1, 2, 0), [{"CPU": 2}]),
        ((1, 1, 0.25), [{"CPU": 1, "GPU": 0.25}]),
        # Workers of Ray Train are placed beside the trial, which takes nothing they need.
        ((4, 2, 1), [{"memory": 100e6}]),
    ],
)
def test_a_trial_reserves_what_it_uses_itself(
    cluster: tuple[float, ...], bundles: list[dict[str, Any]]
) -> None:
    names = ("num_workers", "cpus_per_worker", "gpus_per_worker")
    config = {"cluster": dict(zip(names, cluster, strict=True))}
    arguments = {"shared_runs": json.dumps([{"config": config}, {"config": config}])}
    assert _resources(arguments).bundles == bundles
