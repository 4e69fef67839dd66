"""What the commands about jobs have in common: which cluster is meant, how a job is told of."""

import argparse
import os
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from raykd.cli.quiet import quiet_libraries
from raykd.jobs.head import head_address
from raykd.jobs.job import Job
from raykd.report.units import duration

if TYPE_CHECKING:
    from raykd.jobs.cluster import Cluster
    from raykd.jobs.follow import Connection

_VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
_LOOPBACK = "http://127.0.0.1:8265"
"""Of a cluster on this machine, and of one that ``ray dashboard`` or a port-forward leads to."""


def add_cluster_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare which cluster is meant."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--address",
        metavar="URL",
        help="job server of the cluster, such as http://HOST:8265; default: "
        f"{' or '.join(_VARIABLES)}, else {_LOOPBACK}",
    )
    which.add_argument(
        "--cluster",
        type=Path,
        metavar="FILE.yaml",
        help="cluster that ray up has started from this file",
    )


def add_job_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare which job of which cluster is meant."""
    add_cluster_arguments(parser)
    parser.add_argument("id", metavar="ID", help="as raykd submit and raykd list print it")


def connected(options: argparse.Namespace) -> "Cluster":
    """Return the cluster that a command line means, once it has answered."""
    quiet_libraries()
    from raykd.jobs.cluster import Cluster  # noqa: PLC0415  --help must be instant

    return Cluster(_address(options))


def again(cluster: "Cluster", *words: str) -> str:
    """Return a command about a job of this cluster, to be typed."""
    return " ".join(["raykd", *words, "--address", cluster.address])


def followed(cluster: "Cluster", job_id: str) -> int:
    """Show what a job prints until its end; return its exit status, or 1 at Ctrl-C."""
    from raykd.jobs.follow import follow  # noqa: PLC0415  --help must be instant

    try:
        job = follow(cluster, job_id, show, connection())
    except KeyboardInterrupt:
        print(f"\n{job_id}: not followed any more; the job itself goes on")
        print(f"  {again(cluster, 'logs', job_id, '--follow')}  # follows it again")
        print(f"  {again(cluster, 'stop', job_id)}  # ends it, with a checkpoint")
        return 1
    print(outcome(job))
    return job.exit_status


def connection() -> "Connection":
    """Return what bears a lost connection, and says on standard error that it is tried again."""
    from raykd.jobs.follow import Connection  # noqa: PLC0415  --help must be instant

    return Connection(
        lambda error: print(f"raykd: {error}: connection lost, trying again", file=sys.stderr)
    )


def show(text: str) -> None:
    """Print what a job has printed, as it is."""
    print(text, end="", flush=True)


def outcome(job: Job) -> str:
    """Return in one line how a job has ended."""
    if job.status == "SUCCEEDED":
        return f"{job.id}: done"
    if job.status == "STOPPED":
        return f"{job.id}: stopped; submit it again to go on"
    if job.exit_code is not None:
        return f"{job.id}: failed with exit status {job.exit_code}"
    return f"{job.id}: failed: {job.message.strip() or 'its cluster does not say why'}"


def took(job: Job) -> str:
    """Return how long a job has run, or runs."""
    if job.submitted_at is None:
        return "-"
    return duration((job.ended_at or time.time()) - job.submitted_at)


def clock(seconds: float | None, *, with_seconds: bool = True) -> str:
    """Return a moment as this machine's clock shows it."""
    if seconds is None:
        return "-"
    form = "%Y-%m-%d %H:%M:%S" if with_seconds else "%Y-%m-%d %H:%M"
    return datetime.fromtimestamp(seconds).astimezone().strftime(form)


def _address(options: argparse.Namespace) -> str:
    if options.cluster is not None:
        return head_address(options.cluster)
    if options.address is not None:
        return str(options.address)
    return next((os.environ[name] for name in _VARIABLES if os.environ.get(name)), _LOOPBACK)
