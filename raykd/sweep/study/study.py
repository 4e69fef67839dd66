"""Where a sweep stands and what comes next: the one writer of its ledger. No Ray.

Whoever runs the trials asks ``next_process``, tells of starts, reports and ends, and asks
``should_stop``. Everything is a function of what is in storage, so a study that is made anew
after any interruption goes on as if there had been none.
"""

import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from raykd.config.schema.sweep import SweepConfig
from raykd.runs.metrics import evaluations
from raykd.runs.paths import RunPaths
from raykd.runs.result import read_result
from raykd.runs.retry import Action, FailureKind
from raykd.sweep.grid.shared_processes import by_process
from raykd.sweep.halving import halving_of
from raykd.sweep.ledger import SweepPaths, write_records
from raykd.sweep.record import Metrics, Record, State
from raykd.sweep.study.attempts import after_stop, begun, closed, decide_next, explained
from raykd.sweep.study.needed import NeededModels
from raykd.sweep.study.processes import Processes

_FLUSH_SECONDS = 2.0
"""Evaluations reach the ledger this late at most; changes of state at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What bounds one start of a sweep."""

    at_once: int
    """Processes at the same time, each with a run or several."""

    clock: Callable[[], float] = time.monotonic
    """In seconds."""

    deadline: float = math.inf
    """On this clock: no run starts after it, and running ones stop."""

    only: Callable[[Iterable[Record]], Collection[str]] | None = None
    """From all runs to the ids of those that may start; None where all may."""

    rungs: tuple[int, ...] = ()
    """Tokens at which the scheduler compares trials; empty without one."""


class Study:
    """The runs of a sweep in the order of the plan, and what becomes of them."""

    def __init__(
        self,
        sweep: SweepConfig,
        paths: SweepPaths,
        records: Iterable[Record],
        *,
        limits: Limits,
        more: Callable[[Mapping[str, Record]], Iterable[Record]] | None = None,
    ) -> None:
        self._sweep = sweep
        self._paths = paths
        self._limits = limits
        self._more = more
        """Asked after every end for runs that follow from the results so far; None for none."""
        self.is_leaving = False
        """Whether ``leave`` was called."""

        self._processes = Processes()
        self._models = NeededModels(limits.clock)
        self._paused_until: dict[str, float] = {}
        """When a run that failed may start again."""

        self.records: dict[str, Record] = {}
        self._selected: Collection[str] | None = None
        """Ids of the runs that may start; None where all may."""

        self._dirty: set[str] = set()
        self._flushed_at = time.monotonic()
        self._halving = halving_of(sweep, limits.rungs)
        self._add(records)
        self._go_on()

    def _add(self, records: Iterable[Record]) -> bool:
        """Take up further runs, each after those that it needs; tell if there are any."""
        added = {record.id: record for record in records if record.id not in self.records}
        self.records |= added
        if self._limits.only is not None:
            self._selected = self._limits.only(self.records.values())
        for record in added.values():
            # A trial with a further seed is there for a question, which a stop would leave open.
            if self._halving is not None and record.seed not in self._sweep.more_seeds:
                self._halving.add(record)
        self._dirty |= set(added)
        self._judge()
        self.flush()
        return bool(added)

    @property
    def is_out_of_time(self) -> bool:
        """Whether the time budget is spent."""
        return self._limits.clock() > self._limits.deadline

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to do, or no time left to do it."""
        if self._processes:
            return False
        return self._is_ending or not any(map(self._may_start, self.records.values()))

    @property
    def to_leave(self) -> list[str]:
        """Runs that were handed out and are to stop with a checkpoint."""
        return [run_id for run_id in self._processes.runs if self.should_stop(run_id)]

    @property
    def _is_ending(self) -> bool:
        """Whether no run starts any more, and those that run stop."""
        return self.is_leaving or self.is_out_of_time

    def is_out(self, run_id: str) -> bool:
        """Tell whether a run was handed out and has not ended."""
        return run_id in self._processes

    def next_process(self) -> tuple[Record, ...]:
        """Hand out the next run that can start, with those that are to share its process.

        Returns:
            Nothing where no run can start at present.
        """
        # No run begins that would have to stop at once: a start costs more than it brings.
        if self._is_ending or len(self._processes) >= self._limits.at_once:
            return ()
        # What has failed before fails alone.
        processes = by_process(
            self._ready(),
            key=lambda record: None if record.failures else record.sharing_key,
            most=self._sweep.trials_per_process,
        )
        records = next(processes, ())
        self._processes.begin(record.id for record in records)
        return records

    def _ready(self) -> Iterator[Record]:
        """Yield the runs that can start, in the order of the plan."""
        # In the order of the plan a run is before those that need it: one that failed blocks them
        # in one pass.
        for record in list(self.records.values()):
            if not self._may_start(record) or self._is_held_back(record):
                continue
            state = self._models.state_for(record, self.records)
            if state.is_terminal and state is not State.DONE:
                self._change(replace(record, state=state))
            elif state is State.DONE:
                yield record

    def started(self, run_id: str) -> None:
        """Note that a run is being trained, from its newest checkpoint on."""
        # One that has been requested to stop meanwhile does so before it begins.
        if not self.should_stop(run_id):
            self._change(self._begun(run_id))

    def _begun(self, run_id: str) -> Record:
        num_sharing = self._processes.num_together(run_id)
        return begun(self.records[run_id], num_sharing=num_sharing)

    def reported(self, run_id: str, metrics: Metrics) -> None:
        """Note an evaluation; one that is done again takes the place of the first."""
        record = self.records[run_id]
        # After a restart, steps since the checkpoint are done again, and bit for bit the same.
        before = tuple(e for e in record.evaluations if e["step"] < metrics["step"])
        self.records[run_id] = replace(record, evaluations=(*before, metrics))
        self._dirty.add(run_id)
        if record.kind == "trial":
            self._judge()
        if time.monotonic() - self._flushed_at > _FLUSH_SECONDS:
            self.flush()

    def should_stop(self, run_id: str) -> bool:
        """Tell whether a running trial is to end before its last step."""
        return self._is_ending or self.records[run_id].stop is not None

    def ended(self, run_id: str) -> None:
        """Note that a run has ended by itself or on request; storage says how."""
        if self.records[run_id].state is not State.RUNNING:
            self._processes.end(run_id)
            return
        record = self._closed(run_id)
        paths = RunPaths(record.run_uri)
        # From the run's own file: reports that were on their way when the trial ended never
        # arrive.
        record = replace(record, evaluations=tuple(evaluations(paths.metrics)))
        result = read_result(paths)
        if result is not None and result.is_done:
            state = State.DONE
        elif self.should_stop(run_id):
            record, state = explained(record, FailureKind.STOPPED), State.WAITING
        else:
            self.failed(run_id, error_class="TrainingFailedError", error="ended without a result")
            return
        self._change(replace(record, state=after_stop(record, state)))
        self._go_on()

    def failed(
        self,
        run_id: str,
        *,
        error_class: str,
        error: str,
        kind: FailureKind = FailureKind.FAILED,
        is_final: bool = False,
    ) -> None:
        """Note that a run failed; it starts again, after a pause, where that is of use.

        Args:
            run_id: The run.
            error_class: Name of the exception's class.
            error: Its text, in one line.
            kind: What the exception stands for.
            is_final: It is not to start again whatever the kind: its own retries are spent.
        """
        if self.records[run_id].state is not State.RUNNING:
            # Its process died before it began.
            self._change(self._begun(run_id))
        record = self._closed(run_id)
        decision = decide_next(record, kind, self._sweep)
        # On the study's clock, not in the ledger: a new driver starts at once.
        self._paused_until[run_id] = self._limits.clock() + decision.pause_seconds
        record = explained(record, kind, error_class=error_class, error=error)
        is_over = is_final or decision.action is Action.GIVE_UP
        state = State.FAILED if is_over else State.WAITING
        self._change(replace(record, state=after_stop(record, state)))
        self._go_on()

    def interrupted(self) -> None:
        """Note that whoever ran the trials has gone: they wait for the next start."""
        for run_id in sorted(self._processes.runs):
            record = self.records[run_id]
            if record.state is State.RUNNING:
                self._change(replace(self._closed(run_id), state=State.WAITING))
            self._processes.end(run_id)

    def leave(self) -> None:
        """Start no run any more, and have running ones stop; may be called at any moment."""
        self.is_leaving = True

    def flush(self) -> None:
        """Write what has changed to the ledger."""
        # Written before it is forgotten: where storage fails, what has changed is still known.
        write_records(self._paths, [self.records[run_id] for run_id in self._dirty])
        self._dirty.clear()
        self._flushed_at = time.monotonic()

    def _may_start(self, record: Record) -> bool:
        is_selected = self._selected is None or record.id in self._selected
        return record.state is State.WAITING and is_selected

    def _is_held_back(self, record: Record) -> bool:
        """Tell whether a process has it, or goes on without it, or it pauses after a failure."""
        paused_until = self._paused_until.get(record.id, -math.inf)
        is_busy = self._processes.has_company(record.id)
        return is_busy or self._limits.clock() < paused_until

    def _closed(self, run_id: str) -> Record:
        self._processes.end(run_id)
        return closed(self.records[run_id])

    def _go_on(self) -> None:
        """Decide what an end has made decidable, and take up what follows from it."""
        self._judge()
        # Runs that are done already have no end to ask after.
        while self._more is not None and self._add(self._more(self.records)):
            pass

    def _judge(self) -> None:
        """Let the scheduler decide what it can."""
        if self._halving is None:
            return
        stops = self._halving.advance(self.records)
        for run_id, stop in stops.items():
            record = replace(self.records[run_id], stop=stop)
            # A decision may come after the trial's end: then it is stopped in retrospect. One that
            # runs is requested to stop, and its end brings the state.
            self.records[run_id] = replace(record, state=after_stop(record, record.state))
        if stops:
            self._dirty |= set(stops)
            self.flush()

    def _change(self, record: Record) -> None:
        self.records[record.id] = record
        self._dirty.add(record.id)
        self.flush()
