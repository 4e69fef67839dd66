"""The trials of a sweep by arm, and each beside its control: what every table starts from."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from raykd.config.schema.study import is_probe_metric
from raykd.sweep.grid.coordinates import Coordinates, arm_labels, coordinates_of
from raykd.sweep.ledger import Ledger
from raykd.sweep.probe_scores import with_probe_metrics
from raykd.sweep.record import Record, State


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """A trial that is done and its control that is: alike but for the teacher's losses."""

    trial: Record
    control: Record


@dataclass(frozen=True, kw_only=True, slots=True)
class Pairing:
    """A ledger, its trials grouped."""

    ledger: Ledger
    """Runs that are probed have the metrics of their probes."""

    metric: str
    mode: Literal["min", "max"]
    arms: dict[str, tuple[Record, ...]]
    """Arm to its trials, in the order of the plan."""

    coordinates: Coordinates
    labels: dict[str, str]
    """Arm to its name for people; no two have the same."""

    pairs: dict[str, tuple[Pair, ...]]
    """Arm to the pairs of its compared trials whose metric can be; only arms that have a control
    and are none."""

    def final(self, trial: Record) -> float | None:
        """Return the metric at the end of a trial that is done; None else."""
        return final(trial, self.metric)

    def differences(self, arm: str, metric: str) -> dict[int, float]:
        """Return, by seed, a metric of the arm minus that of its control, at their ends."""
        differences = {}
        for pair in self.pairs[arm]:
            own, other = final(pair.trial, metric), final(pair.control, metric)
            if own is not None and other is not None:
                differences[pair.trial.seed] = own - other
        return differences

    def missing(self, arm: str) -> str | None:
        """Return why the arm has fewer pairs than seeds; None where it has all."""
        trials = compared(self.arms[arm], self.ledger)
        paired = {pair.trial.id for pair in self.pairs[arm]}
        # Reasons, and not a number: which of the two is missing, and whether it will come, decides
        # whether to wait for it.
        reasons = Counter(self._reason(trial) for trial in trials if trial.id not in paired)
        if not reasons:
            return None
        listed = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
        return f"{sum(reasons.values())} of {len(trials)} pairs missing: {listed}"

    def _reason(self, trial: Record) -> str:
        if trial.state is not State.DONE:
            return trial.state.value
        control = self.ledger.records.get(trial.control or "")
        if control is None:
            return "without control"
        if control.state is not State.DONE:
            return f"control {control.state.value}"
        return "not fully probed" if is_probe_metric(self.metric) else "without a finite value"


def pairing_of(ledger: Ledger) -> Pairing:
    """Return a ledger's trials, grouped."""
    ledger = replace(ledger, records=with_probe_metrics(ledger.sweep, ledger.records))
    arms: dict[str, list[Record]] = {}
    for trial in ledger.trials:
        arms.setdefault(trial.arm, []).append(trial)
    metric = ledger.sweep["metric"]
    coordinates = coordinates_of({arm: trials[0] for arm, trials in arms.items()})
    return Pairing(
        ledger=ledger,
        metric=metric,
        mode=ledger.sweep["mode"],
        arms={arm: tuple(trials) for arm, trials in arms.items()},
        coordinates=coordinates,
        labels=arm_labels({arm: trials[0] for arm, trials in arms.items()}, coordinates),
        pairs={
            arm: tuple(
                pair
                for trial in compared(trials, ledger)
                # The seed is part of the control's identity: a pair has the same batches, initial
                # weights and dropout, so that their noise cancels in the difference.
                if (pair := _pair(trial, ledger.records, metric)) is not None
            )
            for arm, trials in arms.items()
            if trials[0].control is not None and not trials[0].is_control
        },
    )


def compared(trials: Iterable[Record], ledger: Ledger) -> tuple[Record, ...]:
    """Return the trials, of the first seeds, by which arms are compared with their controls."""
    # Whether an arm gets further seeds depends on its results: a test over them would call arms
    # better or worse too often.
    further = ledger.sweep.get("more_seeds") or ()
    return tuple(trial for trial in trials if trial.seed not in further)


def final(run: Record, metric: str) -> float | None:
    """Return a metric of the last evaluation of a run that is done; None else."""
    return finite(run.last_evaluation.get(metric)) if run.state is State.DONE else None


def finite(value: float | None) -> float | None:
    """Return a number, and None where it is missing, infinite or not a number."""
    return value if value is not None and math.isfinite(value) else None


def flops(run: Record, tokens: float) -> float | None:
    """Return what a run computes for so many tokens, its teachers' part too; None if unknown."""
    return sum(run.flops_per_token.values()) * tokens if run.flops_per_token else None


def _pair(trial: Record, records: Mapping[str, Record], metric: str) -> Pair | None:
    control = records.get(trial.control or "")
    if control is None or final(trial, metric) is None or final(control, metric) is None:
        return None
    return Pair(trial=trial, control=control)
