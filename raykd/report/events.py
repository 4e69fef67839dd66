"""What happened to runs beside being trained: reused, resumed, failed, stopped, blocked."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from raykd.report.pairing import Pairing
from raykd.sweep.grid.coordinates import run_labels
from raykd.sweep.record import Record, State


class EventKind(StrEnum):
    """What happened."""

    REUSED = "reused"
    RESUMED = "resumed"
    FAILED = "failed"
    STOPPED = "stopped"
    BLOCKED = "blocked"


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """What happened to one run."""

    kind: EventKind
    run_id: str
    run_uri: str
    label: str
    """Which run it is, such as the arm and the seed."""

    text: str
    """One line, such as the error's class and its message; may be empty."""


def events_of(pairing: Pairing) -> tuple[Event, ...]:
    """Return what happened, the worst first, else in the order of the plan."""
    order = [EventKind.FAILED, EventKind.BLOCKED, EventKind.STOPPED, EventKind.RESUMED]
    runs = pairing.ledger.records
    labels = run_labels(runs.values(), with_seeds=True)
    events = [event for run in runs.values() for event in _events(pairing, run, labels)]
    return tuple(sorted(events, key=lambda event: [*order, EventKind.REUSED].index(event.kind)))


def _events(pairing: Pairing, run: Record, labels: Mapping[str, str]) -> Iterator[Event]:
    for kind, text in _happenings(pairing, run, labels):
        yield Event(
            kind=kind,
            run_id=run.id,
            run_uri=run.run_uri,
            label=labels[run.id],
            text=" ".join(text.split()),
        )


def _happenings(
    pairing: Pairing, run: Record, labels: Mapping[str, str]
) -> Iterator[tuple[EventKind, str]]:
    if run.state is State.FAILED:
        yield EventKind.FAILED, _error(run)
    if run.state is State.BLOCKED:
        yield EventKind.BLOCKED, f"needs {_failed_needs(pairing, run, labels)}"
    if run.stop is not None and run.state is State.STOPPED:
        value = f"{pairing.metric} {run.stop.value:.4g} at step {run.stop.step:,}"
        yield EventKind.STOPPED, f"{value}, among the worse of its rung"
    if resumed := _resumptions(run):
        yield EventKind.RESUMED, "; ".join(resumed)
    if run.is_reused:
        yield EventKind.REUSED, "done before this sweep"


def _resumptions(run: Record) -> list[str]:
    """Return from where, and after what, attempts took up what another had begun."""
    resumptions = [
        f"from step {later.first_step:,} after {before.error_class or 'an interruption'}"
        # The error is on the attempt that ended; the step is where its successor began.
        for before, later in itertools.pairwise(run.attempts)
    ]
    if run.attempts and (step := run.attempts[0].first_step) > 0:
        resumptions.insert(0, f"from step {step:,} of an earlier run")
    return resumptions


def _error(run: Record) -> str:
    if not run.attempts:
        return ""
    last = run.attempts[-1]
    return f"{last.error_class or 'error'}: {last.error or 'no message'}"


def _failed_needs(pairing: Pairing, run: Record, labels: Mapping[str, str]) -> str:
    needs = (pairing.ledger.records.get(name) for name in run.needs)
    failed = [n for n in needs if n is not None and n.state in (State.FAILED, State.BLOCKED)]
    return ", ".join(labels[n.id] for n in failed) or "a run that failed"
