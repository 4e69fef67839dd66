"""Which process each run of a sweep was handed out to, as long as any run of it goes on."""

from collections.abc import Iterable


class Processes:
    """Runs that were handed out and have not ended, alone or several to a process."""

    def __init__(self) -> None:
        self._open: dict[str, int] = {}
        self._last: dict[str, int] = {}
        """The process that each run was last handed out to; they are numbered."""

    def __contains__(self, run_id: str) -> bool:
        """Tell whether a run was handed out and has not ended."""
        return run_id in self._open

    def __len__(self) -> int:
        """Return the number of processes with such runs."""
        return len(set(self._open.values()))

    @property
    def runs(self) -> list[str]:
        """The runs, in the order in which they were handed out."""
        return list(self._open)

    def begin(self, run_ids: Iterable[str]) -> None:
        """Hand out the runs of one process."""
        # Numbers rise for ever: a run that is handed out again is in a new process.
        number = max(self._last.values(), default=0) + 1
        for run_id in run_ids:
            self._open[run_id] = self._last[run_id] = number

    def end(self, run_id: str) -> None:
        """Note that a run has ended, or has not begun."""
        self._open.pop(run_id, None)

    def num_together(self, run_id: str) -> int:
        """Return how many runs were handed out to the last process of a run."""
        return list(self._last.values()).count(self._last[run_id])

    def has_company(self, run_id: str) -> bool:
        """Tell whether the last process of a run goes on, with the run or without it."""
        return self._last.get(run_id) in self._open.values()
