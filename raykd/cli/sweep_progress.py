"""How a sweep looks while it goes on: one live block on a terminal, a line per change in a log."""

import time
from collections import Counter
from collections.abc import Collection, Iterator
from types import TracebackType
from typing import Self

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from raykd.cli.progress import console
from raykd.config.schema.study import is_probe_metric
from raykd.ray_cluster.pending import Wait
from raykd.report.standing import standing_of
from raykd.report.units import duration
from raykd.sweep.grid.coordinates import run_labels
from raykd.sweep.ledger import read_ledger
from raykd.sweep.plan.changes import KIND_NAMES, difference
from raykd.sweep.plan.decided import MoreSeeds
from raykd.sweep.plan.plan import SweepPlan
from raykd.sweep.questions.seeds import looks_of
from raykd.sweep.record import Record, State
from raykd.sweep.study.study import Study

_REFRESH_SECONDS = 0.5
_FACTS_WIDTH = 20
"""Characters of a metric and a time, before the name of the run, which alone makes lines long."""


class SweepDisplay:
    """Shows where a sweep stands."""

    def __init__(self) -> None:
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._labels: dict[str, str] = {}
        self._metric = "eval/loss"
        self._probe_metrics: dict[str, str] = {}
        self._states: dict[str, State] = {}
        self._says_that_it_stops = False
        self._reason = ""
        self._shown_at = 0.0
        self._started_at = time.monotonic()

    def __enter__(self) -> Self:
        """Start the live block, where there is a terminal."""
        if console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the live block; what was printed stays."""
        self._live.stop()

    def plan(self, plan: SweepPlan) -> None:
        """Say in a few lines what is going to happen, and what has changed since last time."""
        records = plan.records
        # Scores of probes come later than a trial's own.
        self._metric = "eval/loss" if is_probe_metric(plan.sweep.metric) else plan.sweep.metric
        self._probe_metrics = {name: p.metric for name, p in plan.sweep.probes.items()}
        self._labels = run_labels(records)
        done = sum(record.state is State.DONE for record in records)
        self._print(f"sweep {plan.uri}")
        self._print(
            f"{_counted(plan)}, {done} of them there already; {plan.at_once} at a time, on "
            f"{plan.machines}"
        )
        if plan.idle_gpus:
            self.warn(plan.idle_gpus)
        for remark in plan.remarks:
            self._print(remark)
        self.decided(plan)
        if not plan.is_known:
            return
        known = read_ledger(plan.uri)
        if (standing := standing_of(known)).kind == "dead":
            self._print(f"{standing.about_driver} This one goes on")
        for line in difference(known, plan).lines():
            self._print(f"changed: {line}")

    def decided(self, plan: SweepPlan) -> None:
        """Say what the results so far have decided about further seeds, where they may follow."""
        if plan.more_seeds is not None:
            self._print(look_text(plan, plan.more_seeds))

    def warn(self, text: str) -> None:
        """Say what makes it unlikely that the sweep gives what it is for."""
        self._print(f"warning: {text}")

    def show(self, study: Study, wait: Wait | None) -> None:
        """Show where the study stands, where that has changed, and why trials wait."""
        records = study.records
        if len(self._labels) < len(records):
            self._labels = run_labels(records.values())
        if not self._states:
            # What is over at the start is counted above.
            self._states = {r.id: r.state for r in records.values() if r.state.is_terminal}
        for record in records.values():
            before = self._states.get(record.id, State.WAITING)
            if record.state is not before:
                self._states[record.id] = record.state
                self._print_change(record, records)
        running = sum(record.state is State.RUNNING for record in records.values())
        if study.is_leaving and running and not self._says_that_it_stops:
            self._says_that_it_stops = True
            self._print(f"stopping: {running} running write checkpoints; again stops at once")
        if wait is not None and wait.reason != self._reason and not console.is_terminal:
            self._reason = wait.reason
            self._print(str(wait))
        # Called several times a second: drawing a thousand rows as often would take a core.
        if console.is_terminal and time.monotonic() - self._shown_at > _REFRESH_SECONDS:
            self._shown_at = time.monotonic()
            self._live.update(self._block(study, wait), refresh=True)

    def _print_change(self, record: Record, records: dict[str, Record]) -> None:
        over = sum(r.state.is_terminal for r in records.values())
        width = len(str(len(records)))
        parts = [
            f"{over:>{width}}/{len(records)}",
            f"{record.state.value:<8}",
            f"{'  '.join(_facts(record, self._metric_of(record))):<{_FACTS_WIDTH}}",
            self._labels[record.id],
        ]
        error = _error(record)
        # One line on a terminal: raykd report has the whole name, and nothing else has the error.
        is_cropped = console.is_terminal and not error
        console.print(
            "  ".join([*parts, *error]),
            markup=False,
            soft_wrap=not is_cropped,
            no_wrap=is_cropped,
            overflow="ellipsis" if is_cropped else None,
        )

    def _block(self, study: Study, wait: Wait | None) -> Group:
        records = study.records.values()
        told = ", ".join(_standing(records))
        passed = duration(time.monotonic() - self._started_at)
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 2))
        for record in records:
            if record.state is State.RUNNING:
                table.add_row(
                    Text(self._labels[record.id]),
                    *map(Text, _running(record, self._metric_of(record))),
                )
        waits = [] if wait is None else [Text(str(wait))]
        return Group(Text(f"{told}; {passed}"), *waits, table)

    def _metric_of(self, record: Record) -> str:
        """Return the metric that is told of a run."""
        is_probe = record.kind == "probe"
        return self._probe_metrics[record.coordinates["probe"]] if is_probe else self._metric

    def _print(self, line: str) -> None:
        console.print(line, markup=False)


def look_text(plan: SweepPlan, seeds: MoreSeeds) -> str:
    """Return which look at the results a study is at, and what is trained for it."""
    look = seeds.look
    place = f"look {look.number} of {len(looks_of(plan.sweep))}"
    if seeds.is_over:
        return f"{place} is over: no question gets more seeds"
    trials = [run.record for run in seeds.runs if run.record.kind == "trial"]
    num_trials = sum(trial.seed in look.added for trial in trials)
    if look.number == 1:
        return f"{place}: {num_trials} trials, more where questions are undecided"
    questions = f"{len(seeds.undecided)} question{'s' if len(seeds.undecided) > 1 else ''}"
    return f"{place}: {questions} undecided, {num_trials} more trials"


def _standing(records: Collection[Record]) -> Iterator[str]:
    """Say how many runs of each kind are over, and how many of all are in each state."""
    for kind, name in KIND_NAMES.items():
        of_kind = [record.state.is_terminal for record in records if record.kind == kind]
        if of_kind:
            yield f"{sum(of_kind)}/{len(of_kind)} {name}{'s' if len(of_kind) > 1 else ''}"
    counts = Counter(record.state for record in records)
    for state in State:
        if counts[state] and state not in (State.DONE, State.WAITING):
            yield f"{counts[state]} {state.value}"


def _counted(plan: SweepPlan) -> str:
    """Say how many runs of each kind there are."""
    counts = {name: len(plan.of_kind(kind)) for kind, name in KIND_NAMES.items()}
    told = [f"{n} {name}{'s' if n != 1 else ''}" for name, n in counts.items() if n]
    return ", ".join(told[:-1]) + (" and " if told[1:] else "") + told[-1]


def _facts(record: Record, metric: str) -> Iterator[str]:
    """Say what a change of state is about."""
    last = record.attempts[-1] if record.attempts else None
    if record.state is State.RUNNING and last is not None and last.first_step:
        yield f"continues at step {last.first_step}"
    if record.stop is not None:
        yield f"stopped early at {record.stop.value:.4f}, step {record.stop.step}"
    elif record.state is State.DONE and metric in record.last_evaluation:
        yield f"{metric.removeprefix('eval/')} {record.last_evaluation[metric]:.4f}"
    if record.state.is_terminal and last is not None and last.seconds is not None:
        yield duration(last.seconds)


def _error(record: Record) -> list[str]:
    """Return why a run did not go on, if it did not."""
    last = record.attempts[-1] if record.attempts else None
    if last is None or last.error is None or record.state is State.RUNNING:
        return []
    return [f"{last.error_class}: {last.error}"]


def _running(record: Record, metric: str) -> tuple[str, str, str]:
    """Return how far a running trial is: step, metric, time."""
    evaluation = record.last_evaluation
    step = int(evaluation.get("step", record.attempts[-1].first_step))
    value = f"{metric} {evaluation[metric]:.4f}" if metric in evaluation else ""
    return (
        f"step {step}/{record.num_steps}",
        value,
        duration(time.time() - record.attempts[-1].started_at),
    )
