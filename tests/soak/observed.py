"""The raykd command, with a note of every step and checkpoint in a local file.

    python -m tests.soak.observed NOTES.jsonl train RUN.yaml

Storage learns of a step late, and of some never: what a kill has cost shows only here. Nothing
else differs from ``raykd``; under Ray the workers are other processes, and there are no notes.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from raykd.cli.main import main
from raykd.distill.loop import FinishedStep
from raykd.runs import checkpointer
from raykd.runs.background import Background
from raykd.runs.snapshot import Snapshot
from raykd.train import worker


class Notes:
    """Lines that survive SIGKILL of the process that writes them."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def add(self, event: str, step: int | None = None) -> None:
        """Add one line: what happened at which step, if any, in which process, and when."""
        note = {"event": event, "step": step, "process": os.getpid(), "time": time.time()}
        # At once, from whichever thread: no two lines mix, and none is lost in a buffer.
        os.write(self._descriptor, f"{json.dumps(note)}\n".encode())


def observe(notes: Notes) -> None:
    """Wrap what trains and what writes checkpoints."""
    of_worker, of_keeper = vars(worker), vars(checkpointer)
    training_steps = of_worker["training_steps"]
    take_snapshot, publish_snapshot = of_keeper["take_snapshot"], of_keeper["publish_snapshot"]

    def noted_steps(*arguments: Any, **options: Any) -> Iterator[FinishedStep]:
        for finished in training_steps(*arguments, **options):
            notes.add("step", finished.step)
            yield finished

    def noted_snapshot(state: Any, **options: Any) -> Snapshot:
        notes.add("snapshot", state.step)
        taken: Snapshot = take_snapshot(state, **options)
        return taken

    def noted_commit(uri: str, snapshot: Snapshot, **options: Any) -> None:
        publish_snapshot(uri, snapshot, **options)
        notes.add("commit", snapshot.run_state.step)

    class NotedBackground(Background):
        def start(self, work: Callable[[], None]) -> None:
            def noted_work() -> None:
                work()
                # After a commit old checkpoints are removed: the next one waits for that, too.
                notes.add("idle")

            super().start(noted_work)

    of_worker["training_steps"] = noted_steps
    of_keeper |= {
        "take_snapshot": noted_snapshot,
        "publish_snapshot": noted_commit,
        "Background": NotedBackground,
    }


if __name__ == "__main__":
    observe(Notes(Path(sys.argv[1])))
    sys.exit(main(sys.argv[2:]))
