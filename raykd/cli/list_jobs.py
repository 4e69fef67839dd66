"""List the jobs of a cluster, the latest first."""

import argparse

from raykd.cli.job_commands import add_cluster_arguments, clock, connected, took

_COLUMNS = ("job", "status", "submitted", "took", "command")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``raykd list``."""
    add_cluster_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Print a line for each job; return 0."""
    cluster = connected(options)
    rows = [
        (job.id, job.status.lower(), clock(job.submitted_at), took(job), job.command_line)
        for job in cluster.jobs()
    ]
    if not rows:
        print(f"{cluster.address}: has no job yet; raykd submit starts one")
        return 0
    # The commands are as long as they are: a terminal wraps them, and grep finds them.
    widths = [max(map(len, column)) for column in zip(_COLUMNS, *rows, strict=True)]
    for row in (_COLUMNS, *rows):
        cells = zip(row[:-1], widths, strict=False)
        print("  ".join([*(f"{cell:<{width}}" for cell, width in cells), row[-1]]))
    return 0
