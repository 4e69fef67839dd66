"""How the metric moved during training, per arm."""

import statistics
from dataclasses import dataclass

from raykd.report.pairing import Pairing, finite, flops
from raykd.stats.means import interval
from raykd.sweep.record import Metrics, Record


@dataclass(frozen=True, kw_only=True, slots=True)
class CurvePoint:
    """One evaluation step of an arm."""

    step: int
    tokens: float
    """Trained on so far; mean over the trials."""

    flops: float | None
    """Computed so far, the teachers' part too; mean over the trials; None where unknown."""

    mean: float
    """Mean of the metric, over the trials that have a finite one at this step."""

    low: float
    """The least of them."""

    high: float
    """The largest."""

    ci_low: float | None
    """Lower end of the 95 % interval of the mean over seeds, by Student's t; None for fewer than
    two trials, and where all have the same value."""

    ci_high: float | None
    """Upper end of that interval."""

    num_trials: int
    """How many they are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """The evaluations of an arm, those of stopped and running trials too."""

    arm: str
    points: tuple[CurvePoint, ...]
    """By step."""


def curves_of(pairing: Pairing) -> tuple[Curve, ...]:
    """Return a curve for each arm; without points before its first evaluation."""
    return tuple(_curve(pairing, arm) for arm in pairing.arms)


def _curve(pairing: Pairing, arm: str) -> Curve:
    at_step: dict[int, list[tuple[Record, Metrics]]] = {}
    for trial in pairing.arms[arm]:
        for evaluation in trial.evaluations:
            if finite(evaluation.get(pairing.metric)) is not None:
                at_step.setdefault(int(evaluation["step"]), []).append((trial, evaluation))
    # Late points may have fewer trials than early ones, as some stop or still run: num_trials says
    # how many, as such a mean may jump.
    points = (_point(step, at_step[step], pairing.metric) for step in sorted(at_step))
    return Curve(arm=arm, points=tuple(points))


def _point(step: int, evaluations: list[tuple[Record, Metrics]], metric: str) -> CurvePoint:
    values = [evaluation[metric] for _, evaluation in evaluations]
    spent = [flops(trial, evaluation["tokens"]) for trial, evaluation in evaluations]
    known = [value for value in spent if value is not None]
    of_mean = interval(values)
    return CurvePoint(
        step=step,
        tokens=statistics.fmean(evaluation["tokens"] for _, evaluation in evaluations),
        flops=statistics.fmean(known) if known else None,
        mean=statistics.fmean(values),
        low=min(values),
        high=max(values),
        ci_low=None if of_mean is None else of_mean.low,
        ci_high=None if of_mean is None else of_mean.high,
        num_trials=len(evaluations),
    )
