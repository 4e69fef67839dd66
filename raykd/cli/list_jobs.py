"""List the jobs of a cluster, the latest first."""

import argparse
import shutil
import sys

from raykd.cli.job_commands import add_cluster_arguments, clock, connected, took

_COLUMNS = ("job", "status", "owner", "submitted", "took", "command")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``raykd list``."""
    add_cluster_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Print a line for each job; return 0."""
    cluster = connected(options)
    rows = [
        (
            *(job.id, job.status.lower(), job.owner or "-"),
            *(clock(job.submitted_at, with_seconds=False), took(job), job.command),
        )
        for job in cluster.jobs()
    ]
    if not rows:
        print(f"{cluster.address}: has no job yet; raykd submit starts one")
        return 0
    widths = [max(map(len, column)) for column in zip(_COLUMNS, *rows, strict=True)]
    # A line for each job on a terminal, where raykd status has the rest; all of it for grep.
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for row in (_COLUMNS, *rows):
        cells = zip(row[:-1], widths, strict=False)
        line = "  ".join([*(f"{cell:<{width}}" for cell, width in cells), row[-1]])
        print(line[:room])
    return 0
