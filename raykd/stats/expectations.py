"""What is expected of a difference, tested together with its opposite.

A yes is a significant claim, a no its significant opposite: neither comes from a large p value.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import stdtrit

from raykd.config.schema.questions import EXPECTED, WITH_MARGIN
from raykd.stats.means import Mean, mean_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Test:
    """A claim about a mean, its opposite, and the interval that says the same."""

    p_yes: float
    p_no: float
    """Of the opposite; 1 for different, which no data contradicts."""

    level: float
    """Of the interval: 0.9 where a margin is tested on one side, else 0.95."""

    low: float
    high: float


def tested(
    values: Sequence[float], *, expect: EXPECTED, margin: float | None, sign: int
) -> Test | None:
    """Return how surprising the differences are if the claim, or its opposite, were false.

    better, worse and different are two-sided. alike is two one-sided tests (Schuirmann, 1987), no
    worse one of them; their opposites are that the true mean is beyond the margin.

    Args:
        values: One difference for each seed.
        expect: The claim.
        margin: Largest difference that does not matter, for alike and no worse.
        sign: +1 where more is better, -1 where less is.

    Returns:
        None for fewer than 2 values, and for values that are all the same.
    """
    mean = mean_of(values)
    if mean is None:
        return None
    better = mean if sign > 0 else Mean(mean=-mean.mean, error=mean.error, freedom=mean.freedom)
    p_yes, p_no = _p_values(better, expect, margin or 0.0)
    level = 0.9 if expect in WITH_MARGIN else 0.95
    ends = mean.interval(level)
    return Test(
        p_yes=min(1.0, p_yes), p_no=min(1.0, p_no), level=level, low=ends.low, high=ends.high
    )


def critical_t(expect: EXPECTED, *, freedom: float, alpha: float) -> float:
    """Return the t that a claim needs: the distance of the mean to 0 or the margin, in errors."""
    tail = alpha if expect in WITH_MARGIN else alpha / 2
    return -float(stdtrit(freedom, tail))


def smallest(values: Sequence[float], *, expect: EXPECTED, alpha: float) -> float | None:
    """Return the smallest distance to 0, or to the margin, that would have been a yes at alpha.

    For alike it is how far inside of the margin the mean would have to be, for no worse how much
    better than its end. None for fewer than 2 values, and for values that are all the same.
    """
    mean = mean_of(values)
    if mean is None:
        return None
    return mean.error * critical_t(expect, freedom=mean.freedom, alpha=alpha)


def _p_values(better: Mean, expect: EXPECTED, margin: float) -> tuple[float, float]:
    """Return the p values of the claim and of its opposite; above 1 where two tails are."""
    match expect:
        case "better":
            return 2 * better.below(0.0), 2 * better.above(0.0)
        case "worse":
            return 2 * better.above(0.0), 2 * better.below(0.0)
        case "different":
            return 2 * min(better.below(0.0), better.above(0.0)), 1.0
        case "alike":
            # Beyond either margin is an opposite: two tails. With one, a margin near 0 would be
            # left by accident in a tenth of all cases.
            inside = max(better.below(-margin), better.above(margin))
            return inside, 2 * min(better.below(margin), better.above(-margin))
        case "no worse":
            return better.below(-margin), better.above(-margin)
