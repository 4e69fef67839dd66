"""What a number of seeds can find: differences in units of their own standard deviation.

Exact for normal differences, by the noncentral t distribution; for alike, by the integral of its
two sides over the spread (Owen, 1965).
"""

import bisect
import math

import numpy as np
from scipy.special import chdtri, nctdtrinc, ndtr

from raykd.config.schema.questions import EXPECTED
from raykd.stats.expectations import critical_t

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(200)
_TINY = 1e-6
"""Accuracy of the margin of alike, relative."""


def detectable(
    num_seeds: int, *, expect: EXPECTED, alpha: float, power: float = 0.8
) -> float | None:
    """Return the true difference that a test at alpha finds with a probability of power.

    In standard deviations of the differences over seeds, counted from 0, or from the end of the
    margin for no worse. For alike it is the margin that is needed where the true difference is 0.
    None for fewer than 2 seeds. For the p values of many questions, give alpha as the least that
    one of them may get; for several looks, as that of the last.
    """
    if num_seeds < 2:  # noqa: PLR2004  a spread needs two
        return None
    freedom = num_seeds - 1
    critical = critical_t(expect, freedom=freedom, alpha=alpha)
    if expect == "alike":
        return _margin(critical, freedom, power) / math.sqrt(num_seeds)
    # The other tail of a difference that is found with such a probability is below every rounding.
    return float(nctdtrinc(freedom, 1 - power, critical)) / math.sqrt(num_seeds)


def seeds_for(
    effect: float, *, expect: EXPECTED, alpha: float, power: float = 0.8, most: int = 1000
) -> int | None:
    """Return the fewest seeds that find a true difference; None where more than most would.

    Args:
        effect: As detectable returns it.
        expect: The claim.
        alpha: Error rate of the test.
        power: Probability of finding it.
        most: Seeds that there can be.
    """

    def finds(num_seeds: int) -> bool:
        found = detectable(num_seeds, expect=expect, alpha=alpha, power=power)
        return found is not None and found <= effect

    numbers = range(2, most + 1)
    index = bisect.bisect_left(numbers, True, key=finds)  # noqa: FBT003  the value searched for
    return numbers[index] if index < len(numbers) else None


def _margin(critical: float, freedom: int, power: float) -> float:
    """Return the margin, in errors of the mean, at which both one-sided tests pass."""
    # Quantiles of the spread: the mean of a function over them is its expectation.
    spread = np.sqrt(chdtri(freedom, (1 - _NODES) / 2) / freedom)
    low, high = 0.0, critical * float(spread[-1]) + 10.0
    while high - low > _TINY * high:
        middle = (low + high) / 2
        inside = np.maximum(2 * ndtr(middle - critical * spread) - 1, 0.0)
        low, high = (low, middle) if _WEIGHTS @ inside / 2 >= power else (middle, high)
    return high
