"""Say how a job of a cluster is doing: the latest one, or that of an id."""

import argparse

from raykd.cli.job_commands import add_cluster_arguments, again, clock, connected, outcome, took
from raykd.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``raykd status``."""
    parser.add_argument("id", nargs="?", metavar="ID", help="job; default: the latest")
    add_cluster_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Print what the cluster knows of the job; return 0."""
    cluster = connected(options)
    jobs = [cluster.job(options.id)] if options.id else cluster.jobs()
    if not jobs:
        message = f"{cluster.address}: has no job yet; raykd submit starts one"
        raise ConfigError(message)
    job = jobs[0]
    lines = [
        ("job", job.id),
        ("status", job.status.lower()),
        ("owner", job.owner or "-"),
        ("command", job.command_line),
        ("submitted", clock(job.submitted_at)),
        ("took", took(job)),
    ]
    lines += [("outcome", outcome(job))] if job.is_over else []
    log = again(cluster, "logs", job.id, *([] if job.is_over else ["--follow"]))
    for name, value in [*lines, ("its log", log)]:
        print(f"{name:<10} {value}")
    return 0
