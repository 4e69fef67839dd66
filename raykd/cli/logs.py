"""Print what a job of a cluster has printed, and with --follow what it prints until its end."""

import argparse

from raykd.cli.job_commands import (
    add_job_arguments,
    connected,
    followed,
    show,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``raykd logs``."""
    add_job_arguments(parser)
    parser.add_argument(
        "--follow", action="store_true", help="until the job ends, with its exit status"
    )


def run(options: argparse.Namespace) -> int:
    """Print the log; return 0, or the exit status of the job that is followed."""
    cluster = connected(options)
    job_id = cluster.job(options.id).id
    if options.follow:
        return followed(cluster, job_id)
    show(cluster.log(job_id))
    return 0
