"""Whether an arm differs from its control, over seeds, with few false alarms in a whole sweep.

The differences of a seed's two trials are tested against 0, and the p values of all arms of a
sweep adjusted together: few arms by Student's t and Holm (1979), many by a moderated t and
rotations, see ``raykd.stats.rotations``. Both hold for arms that share controls. So where no arm
differs from its control, at most one sweep in twenty calls any of them better or worse.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from raykd.stats.holm import holm
from raykd.stats.means import SIGNIFICANCE, interval, is_flat
from raykd.stats.rotations import MANY, adjusted_by_rotations
from raykd.sweep.questions.wording import p_text

Verdict = Literal["better", "worse", "inconclusive"]
TestName = Literal["t", "moderated t"]

_SHARED = (
    "An arm is better or worse where all its pairs of trials, one for each seed, are done and the "
    "mean difference to its control is significant: "
)
RULES: dict[TestName, str] = {
    "t": _SHARED + "paired t-test, p below 0.05 after Holm's adjustment for all arms of the "
    "sweep. Else it is inconclusive; the 95 % interval is that of the arm alone, without the "
    "adjustment.",
    "moderated t": _SHARED + "paired, moderated t-test (variances drawn to what the arms have in "
    "common), p below 0.05 after adjustment for all arms of the sweep by rotations of the seeds. "
    "Else it is inconclusive; the 95 % interval is that of the arm alone, by Student's t, which "
    "may reach 0 where the arms together show a difference.",
}
"""When an arm is called better or worse, by the test that is used."""

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

    test: TestName
    low: float | None
    """Lower end of the 95 % interval of the mean difference, for this arm alone; None where
    the spread is unknown: fewer than 2 pairs, or all differences the same."""

    high: float | None
    """Upper end of that interval."""

    p: float | None
    """Two-sided, Student's, for this arm alone; None where low is."""

    adjusted_p: float | None
    """Over all arms of the sweep; None where the arm is not ready for a verdict."""

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
    waits = {arm: _why_not_ready(e) for arm, e in evidence.items()}
    ready = {
        arm: [value for _, value in sorted(e.differences.items())]
        for arm, e in evidence.items()
        if waits[arm] is None
    }
    seeds = {frozenset(evidence[arm].differences) for arm in ready}
    # By the arms that there are, and not by those that are ready: else results would have a say in
    # which test is made. Rotations need the same seeds of all.
    is_many = len(evidence) >= MANY and len(seeds) == 1
    test: TestName = "moderated t" if is_many else "t"
    found = (_by_rotations if is_many else _by_holm)(ready, len(evidence))
    return {
        arm: _comparison(
            e,
            found.get(arm),
            reason=waits[arm] or _tested(found[arm], len(evidence), len(e.differences)),
            test=test,
            mode=mode,
        )
        for arm, e in evidence.items()
    }


def _by_holm(ready: Mapping[str, Sequence[float]], num_arms: int) -> dict[str, float]:
    """Return the adjusted p values of the arms that are ready."""
    estimates = map(interval, ready.values())
    # 1 is what no test can reject: it makes all others harder, and is never significant itself.
    p_values = [1.0 if estimate is None else estimate.p for estimate in estimates]
    adjusted = holm(p_values + [1.0] * (num_arms - len(ready)))
    return dict(zip(ready, adjusted, strict=False))


def _by_rotations(ready: Mapping[str, Sequence[float]], num_arms: int) -> dict[str, float]:
    """Return the adjusted p values of the arms that are ready, one or more."""
    differences_AS = np.array(list(ready.values()))
    return dict(zip(ready, adjusted_by_rotations(differences_AS, num_arms=num_arms), strict=True))


def _comparison(
    evidence: Evidence,
    adjusted_p: float | None,
    *,
    reason: str,
    test: TestName,
    mode: Literal["min", "max"],
) -> Comparison:
    differences = list(evidence.differences.values())
    mean = statistics.fmean(differences) if differences else None
    estimate = interval(differences)
    verdict: Verdict = "inconclusive"
    if mean is not None and adjusted_p is not None and adjusted_p < SIGNIFICANCE:
        verdict = "better" if (mean > 0) == (mode == "max") else "worse"
    return Comparison(
        control=evidence.control,
        differences=evidence.differences,
        num_planned=evidence.num_planned,
        mean=mean,
        test=test,
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
    return _NO_SPREAD if is_flat(list(evidence.differences.values())) else None


def _tested(adjusted_p: float, num_arms: int, num_pairs: int) -> str:
    few = "; two seeds" if num_pairs == 2 else ""  # noqa: PLR2004  one degree of freedom
    return f"adjusted p {p_text(adjusted_p)}, of {num_arms} arm(s){few}"
