"""What the scripts in jobs/ start."""

import pytest
from raykd.cli.job import job_arguments
from raykd.cli.main import parse


@pytest.mark.parametrize(
    ("command", "given", "in_cluster", "address"),
    [
        ("train", "run.yaml train.num_steps=2 --fresh", True, "auto"),
        ("sweep", "sweep.yaml --only teacher=small", True, "auto"),
        ("sweep", "sweep.yaml --address 10.0.0.7:6379", True, "10.0.0.7:6379"),
        ("train", "run.yaml", False, "local"),
        ("report", "s3://bucket/sweeps/demo", True, None),
    ],
)
def test_a_job_joins_the_cluster_that_it_is_of(
    command: str, given: str, in_cluster: bool, address: str | None
) -> None:
    words = job_arguments(command, given.split(), in_cluster=in_cluster)
    assert words[0] == command
    assert words[-len(given.split()) :] == given.split()
    assert getattr(parse(words), "address", None) == address
