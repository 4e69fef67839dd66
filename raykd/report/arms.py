"""One line per arm: its values over the seeds, and the verdict against its control."""

import statistics
from collections import Counter
from dataclasses import dataclass
from typing import Any

from raykd.report.pairing import Pairing, compared
from raykd.report.statistics import Comparison, Evidence, compare
from raykd.sweep.record import State


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """Trials that differ by seed only."""

    id: str
    label: str
    """Its coordinates in short, such as ``teacher=small weight=0.5 init=remap``."""

    coordinates: dict[str, Any]
    """In full."""

    is_control: bool
    values: dict[int, float]
    """Seed to the metric at the end, of trials that are done."""

    mean: float | None
    """Mean of the values; None without any."""

    standard_deviation: float | None
    """Sample standard deviation of the values, with n - 1; None for fewer than two."""

    num_trials: int
    states: dict[State, int]
    """How many of its trials are in each state; states without any are left out."""

    comparison: Comparison | None
    """With its control; None for a control, and where it has none."""

    @property
    def num_done(self) -> int:
        """Trials that are done."""
        return self.states.get(State.DONE, 0)


def arms_of(pairing: Pairing) -> tuple[Arm, ...]:
    """Return the arms in the order of the plan."""
    comparisons = compare(
        {arm: _evidence(pairing, arm) for arm in pairing.pairs}, mode=pairing.mode
    )
    return tuple(_arm(pairing, arm, comparisons.get(arm)) for arm in pairing.arms)


def _evidence(pairing: Pairing, arm: str) -> Evidence:
    trials = compared(pairing.arms[arm], pairing.ledger)
    # Trials of an arm differ by seed alone, and so do their controls: any stands for the arm.
    control = pairing.ledger.records.get(trials[0].control or "")
    return Evidence(
        control=None if control is None else control.arm,
        differences=pairing.differences(arm, pairing.metric),
        num_planned=len(trials),
        missing=pairing.missing(arm),
    )


def _arm(pairing: Pairing, arm: str, comparison: Comparison | None) -> Arm:
    trials = pairing.arms[arm]
    values = {t.seed: value for t in trials if (value := pairing.final(t)) is not None}
    return Arm(
        id=arm,
        label=pairing.labels[arm],
        coordinates=trials[0].coordinates,
        is_control=trials[0].is_control,
        values=values,
        mean=statistics.fmean(values.values()) if values else None,
        standard_deviation=statistics.stdev(values.values()) if len(values) > 1 else None,
        num_trials=len(trials),
        states=dict(Counter(trial.state for trial in trials)),
        comparison=comparison,
    )
