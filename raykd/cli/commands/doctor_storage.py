"""Say what a store lets raykd do."""

import argparse

from raykd.cli.progress import console
from raykd.cli.tables import plain_table
from raykd.storage.remote.probe import probe_steps


def run(options: argparse.Namespace) -> int:
    """Print what each step of the probe is granted; return 0."""
    table = plain_table("step", "ms", "")
    try:
        for step in probe_steps(options.uri):
            verdict = "ok" if step.is_granted else "[yellow]no[/]: raykd does without"
            table.add_row(step.name, f"{1_000 * step.seconds:.0f}", verdict)
    finally:
        # The error that ends the steps is told after those that were done.
        if table.row_count:
            console.print(table)
    return 0
