"""Stop a job of a cluster: it leaves with a checkpoint, and submitted again it goes on."""

import argparse

from raykd.cli.job_commands import add_job_arguments, connected, outcome


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``raykd stop``."""
    add_job_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Ask the job to leave and wait until it has; return 0."""
    cluster = connected(options)
    job = cluster.job(options.id)
    if not job.is_over:
        from raykd.jobs.follow import wait_until_over  # noqa: PLC0415  --help must be instant

        print(f"{job.id}: asked to leave", flush=True)
        cluster.stop(job.id)
        job = wait_until_over(cluster, job.id)
    print(outcome(job))
    return 0
