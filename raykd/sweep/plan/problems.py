"""What speaks against the runs of a sweep: each problem once, however many runs have it."""

import functools
from collections.abc import Sequence

from raykd.config.schema.sweep import NodeConfig
from raykd.sweep.grid.coordinates import stage_label, value_text
from raykd.sweep.plan.capacity import Need, room_problem
from raykd.sweep.record import Record


class Problems:
    """Collects problems of runs."""

    def __init__(self, nodes: Sequence[NodeConfig]) -> None:
        """Begin with none.

        Args:
            nodes: The machines that runs have to fit on.
        """
        # A thousand runs have a handful of needs.
        self._room = functools.cache(functools.partial(room_problem, nodes=nodes))
        self._labels: dict[str, list[str]] = {}

    def add(self, record: Record, problem: str | None) -> None:
        """Note a problem of a run, if it is one."""
        if problem is not None:
            self._labels.setdefault(problem, []).append(_label(record))

    def add_room(self, record: Record, need: Need, *, num_sharing: int = 1) -> None:
        """Note where a process of one run, or of so many that share it, does not fit."""
        problem = self._room(need)
        if problem is not None and num_sharing > 1:
            problem = (
                f"{num_sharing} trials of one process: {problem}; or lower trials_per_process"
            )
        self.add(record, problem)

    def has(self, problem: str) -> bool:
        """Tell whether a problem is noted, perhaps with the key that it is about."""
        return any(problem in noted for noted in self._labels)

    def lines(self) -> list[str]:
        """Return each problem with a run that has it, and the number of the others."""
        return [
            f"{labels[0]}{f' and {len(labels) - 1} other(s)' if labels[1:] else ''}: {problem}"
            for problem, labels in self._labels.items()
        ]


def _label(record: Record) -> str:
    if record.kind == "stage":
        return stage_label(record)
    named = ", ".join(f"{name}={value_text(value)}" for name, value in record.coordinates.items())
    return f"{record.kind} {named or 'without coordinates'}"
