"""Each arm over all tasks of a study: one number, and how often it beats its control."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from raykd.report.languages import language_metrics
from raykd.report.pairing import Pairing, final
from raykd.stats.aggregates import (
    Array,
    Estimate,
    interquartile_mean,
    probability_of_improvement,
)
from raykd.sweep.probe_scores import probe_metric, probes_of
from raykd.sweep.record import Record

_SEVERAL = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Aggregate:
    """One arm over several tasks. Described, not tested."""

    arm: str
    tasks: tuple[str, ...]
    """Metrics: of probes, scaled by their floors, so that 0 is a model that knows nothing and 1 a
    perfect one; where there are less than two, of languages as they are."""

    num_seeds: int
    """Seeds with a score on every task; the others are left out."""

    interquartile_mean: Estimate
    """Mean of the middle half of all scores."""

    improvement: Estimate | None
    """Probability that a run of it is better than one of its control, on a task picked at random;
    None without a control."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Tasks:
    """What models are scored on."""

    scaled: Mapping[str, Callable[[float], float]]
    """Metric to what makes its values comparable."""

    mode: Literal["min", "max"]


def aggregates_of(pairing: Pairing) -> tuple[Aggregate, ...]:
    """Return the arms that have two seeds or more with all scores; none of less than two tasks."""
    tasks = _tasks(pairing)
    if len(tasks.scaled) < _SEVERAL:
        return ()
    of_all = {arm: _scores(trials, tasks) for arm, trials in pairing.arms.items()}
    # One seed drawn again and again has an interval of no length.
    scores = {arm: own for arm, own in of_all.items() if len(own) >= _SEVERAL}
    return tuple(
        Aggregate(
            arm=arm,
            tasks=tuple(tasks.scaled),
            num_seeds=len(own),
            interquartile_mean=interquartile_mean(own),
            improvement=_improvement(own, scores.get(_control(pairing, arm) or ""), tasks.mode),
        )
        for arm, own in scores.items()
    )


def _tasks(pairing: Pairing) -> _Tasks:
    probes = {
        probe_metric(name, probe.metric): probe.scaled
        for name, probe in probes_of(pairing.ledger.sweep).items()
        if "trials" in probe.of and 1.0 in probe.at
    }
    if len(probes) > 1:
        return _Tasks(scaled=probes, mode="max")
    return _Tasks(scaled=dict.fromkeys(language_metrics(pairing), float), mode=pairing.mode)


def _scores(trials: Sequence[Record], tasks: _Tasks) -> Array:
    """Return the scores [S, T] of the trials that have all of them."""
    rows = []
    for trial in trials:
        known = [(final(trial, metric), scaled) for metric, scaled in tasks.scaled.items()]
        row = [scaled(value) for value, scaled in known if value is not None]
        rows += [row] if len(row) == len(known) else []
    return np.array(rows)


def _control(pairing: Pairing, arm: str) -> str | None:
    """Return the arm of the control of an arm; None where it has none, or is one."""
    first = pairing.arms[arm][0]
    control = pairing.ledger.records.get(first.control or "")
    return None if control is None or first.is_control else control.arm


def _improvement(
    scores_ST: Array, control_ST: Array | None, mode: Literal["min", "max"]
) -> Estimate | None:
    if control_ST is None:
        return None
    better, worse = (scores_ST, control_ST) if mode == "max" else (control_ST, scores_ST)
    return probability_of_improvement(better, worse)
