"""What Ray Tune reserves for a trial, and what its process loads to do so."""

import json
import pickle
import subprocess
import sys
from typing import Any

import pytest
from raykd.tune.trial import resources, train_trial


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
    assert resources(arguments).bundles == bundles


def test_the_process_of_a_trial_leaves_torch_to_the_process_of_its_runs() -> None:
    program = """
import pickle, sys
pickle.load(sys.stdin.buffer)
print("torch" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=pickle.dumps((train_trial, resources)),
        stdout=subprocess.PIPE,
        check=True,
    )
    assert done.stdout.split() == [b"False"]
