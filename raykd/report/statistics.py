"""Whether an arm differs from its control, over seeds, with few false alarms in a whole sweep.

The differences of a seed's two trials are tested against 0 (Student's t), and the p values of
all arms of a sweep adjusted together (Holm, 1979), which holds for arms that share controls. So
where no arm differs from its control, at most one sweep in twenty calls any of them better or
worse.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.special import stdtr, stdtrit

from raykd.report.units import UNKNOWN

SIGNIFICANCE = 0.05

Verdict = Literal["better", "worse", "inconclusive"]

_EQUAL_FRACTION = 1e-12
"""Differences that spread less than this share of their size are equal but for rounding."""

TWO_SEEDS = (
    "With two seeds an interval rests on one degree of freedom: it is 12.7 standard errors to "
    "each side (with three seeds 4.3), and two differences that are alike by chance look "
    "significant. Add seeds before you rely on a verdict."
)

_NO_SPREAD = "all differences are the same: they tell nothing of the spread over seeds"


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What is known of one arm against its control."""

    control: str | None
    """The control's arm; None where it is not in the sweep."""

    differences: dict[int, float]
    """Seed to the arm's value minus its control's; only where both trials are done."""

    num_planned: int
    """Pairs there are when all trials are done."""

    missing: str | None
    """Why pairs are missing; None where none is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """One arm against its control."""

    control: str | None
    """The control's arm."""

    differences: dict[int, float]
    """Seed to the arm's value minus its control's."""

    num_planned: int
    """Pairs there are when all trials are done."""

    mean: float | None
    """Mean of the differences; None without any."""

    low: float | None
    """Lower end of the 95 % interval of the mean difference, for this arm alone; None where
    the spread is unknown: fewer than 2 pairs, or all differences the same."""

    high: float | None
    """Upper end of that interval."""

    p: float | None
    """Two-sided, for this arm alone; None where low is."""

    adjusted_p: float | None
    """Holm's, over all arms of the sweep; None where the arm is not ready for a verdict."""

    verdict: Verdict
    reason: str
    """Why the verdict is what it is."""

    @property
    def num_pairs(self) -> int:
        """Seeds with both trials done."""
        return len(self.differences)

    @property
    def rests_on_two(self) -> bool:
        """Whether the interval is that of two differences, which hardly tell their spread."""
        return self.low is not None and self.num_pairs == 2  # noqa: PLR2004  one degree of freedom


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """The mean of a few numbers, how sure it is, and how surprising if the truth were 0."""

    low: float
    high: float
    p: float


def interval(values: Sequence[float]) -> Interval | None:
    """Return the 95 % interval of the mean and the p value of 0, by Student's t.

    None for fewer than 2 values, and for values that are all the same.
    """
    # Equal differences have a standard error of 0: t would be infinite, and p 0, of no evidence.
    if len(values) < 2 or _is_flat(values):  # noqa: PLR2004  a spread needs two
        return None
    mean = statistics.fmean(values)
    # stdev divides by n - 1 and sums without rounding: differences in the last digits have a
    # spread.
    error = statistics.stdev(values) / math.sqrt(len(values))
    freedom = len(values) - 1
    reach = float(stdtrit(freedom, 1 - SIGNIFICANCE / 2)) * error
    return Interval(
        # The lower tail twice, and not 1 minus the upper one, which is 0 for every p below 1e-16.
        low=mean - reach,
        high=mean + reach,
        p=2 * float(stdtr(freedom, -abs(mean) / error)),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values adjusted for being many, in their order (Holm, 1979).

    Below 0.05 they have, together, a chance of at most 5 % that any is there by accident,
    however they depend on one another.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        # The running maximum keeps the order of the p values: a larger one is never significant
        # where a smaller one is not.
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def compare(
    evidence: Mapping[str, Evidence], *, mode: Literal["min", "max"]
) -> dict[str, Comparison]:
    """Return the verdict on each arm.

    An arm that is not ready, or was stopped, counts among the arms that Holm adjusts for: else
    looking early, or stopping the weak ones, would make false alarms more frequent.

    Args:
        evidence: What is known of each arm of the sweep that has a control.
        mode: Whether less or more is better.
    """
    intervals = {arm: interval(list(e.differences.values())) for arm, e in evidence.items()}
    waits = {arm: _why_not_ready(e) for arm, e in evidence.items()}
    p_values = [
        # 1 is what no test can reject: it makes all others harder, and never significant itself.
        1.0 if waits[arm] is not None or estimate is None else estimate.p
        for arm, estimate in intervals.items()
    ]
    adjusted = dict(zip(evidence, holm(p_values), strict=True))
    return {
        arm: _comparison(
            e,
            estimate=intervals[arm],
            adjusted_p=None if waits[arm] is not None else adjusted[arm],
            reason=waits[arm] or _tested(adjusted[arm], len(evidence), len(e.differences)),
            mode=mode,
        )
        for arm, e in evidence.items()
    }


def _comparison(
    evidence: Evidence,
    *,
    estimate: Interval | None,
    adjusted_p: float | None,
    reason: str,
    mode: Literal["min", "max"],
) -> Comparison:
    differences = list(evidence.differences.values())
    mean = statistics.fmean(differences) if differences else None
    verdict: Verdict = "inconclusive"
    if mean is not None and adjusted_p is not None and adjusted_p < SIGNIFICANCE:
        verdict = "better" if (mean > 0) == (mode == "max") else "worse"
    return Comparison(
        control=evidence.control,
        differences=evidence.differences,
        num_planned=evidence.num_planned,
        mean=mean,
        low=None if estimate is None else estimate.low,
        high=None if estimate is None else estimate.high,
        p=None if estimate is None else estimate.p,
        adjusted_p=adjusted_p,
        verdict=verdict,
        reason=reason,
    )


def _why_not_ready(evidence: Evidence) -> str | None:
    if evidence.control is None:
        return "its control is not in the sweep"
    if evidence.num_planned < 2:  # noqa: PLR2004  a spread needs two
        return "one seed: an anecdote"
    if evidence.missing is not None:
        return evidence.missing
    return _NO_SPREAD if _is_flat(list(evidence.differences.values())) else None


def _is_flat(values: Sequence[float]) -> bool:
    # Relative, as losses and accuracies differ in size by orders of magnitude.
    largest = max(abs(value) for value in values)
    return max(values) - min(values) <= _EQUAL_FRACTION * largest


def p_text(p: float | None) -> str:
    """Return a p value in three digits; a dash where there is none."""
    if p is None:
        return UNKNOWN
    return "< 0.001" if p < 0.001 else f"{p:.3f}"  # noqa: PLR2004  three digits


def _tested(adjusted_p: float, num_arms: int, num_pairs: int) -> str:
    few = "; two seeds" if num_pairs == 2 else ""  # noqa: PLR2004  one degree of freedom
    return f"adjusted p {p_text(adjusted_p)}, of {num_arms} arm(s){few}"
