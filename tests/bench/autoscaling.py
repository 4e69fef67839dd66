"""What an autoscaler does for a sweep: nodes, trials and pending places over time, as a table.

A Ray of its own on this machine, whose autoscaler may start two fake nodes of one CPU. They are
late, so that the sweep says what it waits for, and one of them is killed while trials run on it:

    python tests/bench/autoscaling.py
"""

import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.ray.support.autoscaled_sweep import Story, swept_with_a_lost_node
from tests.ray.support.autoscaling import autoscaled_ray

MAX_NODES = 2


def main() -> None:
    """Run the sweep and print what was seen."""
    console = Console(width=100, highlight=False)
    with (
        tempfile.TemporaryDirectory() as directory,
        autoscaled_ray(max_nodes=MAX_NODES) as cluster,
    ):
        story = swept_with_a_lost_node(Path(directory), cluster, num_nodes=MAX_NODES)
    console.print(table(story))
    for wait in story.waits:
        console.print(wait, soft_wrap=True)
    num_failed = sum(
        attempt.error_class is not None
        for record in story.ledger.records.values()
        for attempt in record.attempts
    )
    console.print(
        f"{len(story.ledger.records)} runs, {num_failed} of them started again after the loss; "
        f"at most {MAX_NODES} nodes allowed"
    )


def table(story: Story) -> Table:
    """Return every change of the cluster in a line."""
    found = Table("seconds", "nodes", "running", "pending", "", box=None)
    for column in found.columns[:4]:
        column.justify = "right"
    for index, moment in enumerate(story.moments):
        note = "a node is killed after this" if index == story.killed_after - 1 else ""
        found.add_row(
            f"{moment.seconds:.1f}",
            *(str(n) for n in (len(moment.nodes), moment.running, moment.pending)),
            note,
        )
    return found


if __name__ == "__main__":
    main()
