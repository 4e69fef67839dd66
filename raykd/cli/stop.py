"""Stop a job of a cluster: it leaves with a checkpoint, and submitted again it goes on.

The name of an earlier start stops the one that runs.
"""

import argparse

from raykd.cli.job_commands import add_job_arguments, connected, connection, outcome
from raykd.jobs.job import running_start


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``raykd stop``."""
    add_job_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Ask the job, or the later start that goes on with it, to leave; wait until it has."""
    cluster = connected(options)
    named = cluster.job(options.id)
    running = running_start(named, cluster.jobs())
    if named.is_over:
        print(f"{outcome(named)} (it has ended before)")
    if running is None:
        return 0
    from raykd.jobs.follow import wait_until_over  # noqa: PLC0415  --help must be instant

    print(f"{running.id}: asked to leave", flush=True)
    cluster.stop(running.id)
    print(outcome(wait_until_over(cluster, running.id, connection())))
    return 0
