"""Whether the models that a run of a sweep needs are there."""

import math
from collections.abc import Callable, Mapping

from raykd.storage.published.directory import is_committed
from raykd.sweep.record import Record, State

_LOOK_SECONDS = 5.0
"""Between two looks for one model: storage may be far away, and probes many."""


class NeededModels:
    """Knows of the runs that begin at models of others whether these are there.

    Stages and trials wait for the end of a stage. A probe waits for one model alone, and so may
    begin while its run goes on.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """Know of none.

        Args:
            clock: In seconds.
        """
        self._clock = clock
        self._next_looks: dict[str, float] = {}

    def state_for(self, record: Record, records: Mapping[str, Record]) -> State:
        """Return how far what a run needs is.

        DONE is where it can begin, BLOCKED or STOPPED where it never can, WAITING all else.

        Args:
            record: The run.
            records: All of the sweep.
        """
        if record.probed is not None:
            return self._state_of_model(record, records[record.probed])
        needed = {records[run_id].state for run_id in record.needs}
        if needed & {State.FAILED, State.BLOCKED}:
            return State.BLOCKED
        return State.DONE if needed <= {State.DONE} else State.WAITING

    def _state_of_model(self, probe: Record, run: Record) -> State:
        """Return how far the model of a run is that a probe scores."""
        if run.state is State.DONE:
            return State.DONE
        # How far a trial trains beyond its rung depends on the machines: only what was before
        # that is the same in every study.
        if run.stop is not None and probe.probed_step > run.stop.step:
            return State.STOPPED if run.state.is_terminal else State.WAITING
        if self._is_there(probe, run):
            return State.DONE
        return State.BLOCKED if run.state.is_terminal else State.WAITING

    def _is_there(self, probe: Record, run: Record) -> bool:
        """Tell whether the model is there; an answer of no stands for a while."""
        is_reached = run.last_evaluation.get("step", 0) >= probe.probed_step
        is_due = self._clock() >= self._next_looks.get(probe.id, -math.inf)
        if not run.state.is_terminal and not (is_reached and is_due):
            return False
        self._next_looks[probe.id] = self._clock() + _LOOK_SECONDS
        return is_committed(probe.config["student"]["pretrained"])
