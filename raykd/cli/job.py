"""The scripts in jobs/: a command of raykd that joins the cluster whose job it is."""

import os
import sys
from collections.abc import Sequence

from raykd.cli.main import main, parse


def run_job(command: str) -> int:
    """Run a command with the arguments of this process; return its exit status."""
    # Ray tells its jobs so where their cluster is.
    return main(job_arguments(command, sys.argv[1:], in_cluster="RAY_ADDRESS" in os.environ))


def job_arguments(command: str, given: Sequence[str], *, in_cluster: bool) -> list[str]:
    """Return a command line of raykd that joins the cluster it runs in, if it can join one.

    Args:
        command: Of raykd.
        given: Its arguments; an --address among them counts.
        in_cluster: Whether it runs in a cluster.
    """
    joins = in_cluster and "address" in parse([command, *given])
    return [command, *(["--address", "auto"] if joins else []), *given]
