"""Looking at results before all seeds are there, without more false alarms.

The error rate is spent over the looks, each its own share (alpha spending, Lan and DeMets, 1983).
Shares add up to 1, so that by the union bound all looks together err no more often than one: at
whatever look a study stops, and however looks depend on one another.
"""

from collections.abc import Sequence
from itertools import pairwise


def looks(first: int, most: int) -> tuple[int, ...]:
    """Return the numbers of seeds at which is looked: first, then doubled, up to most."""
    numbers = []
    while first < most:
        numbers.append(first)
        first *= 2
    return (*numbers, most)


def shares(looks: Sequence[int]) -> tuple[float, ...]:
    """Return the share of the error rate of each look: that of the seeds it adds."""
    return tuple((now - before) / looks[-1] for before, now in pairwise((0, *looks)))


def sequential_p(p_values: Sequence[float], looks: Sequence[int]) -> float:
    """Return the p value of a claim after the looks so far, valid whenever a study stops.

    Args:
        p_values: Of each look so far, one or more, each from all seeds until then.
        looks: Numbers of seeds of all looks that there may be.
    """
    spent = zip(p_values, shares(looks), strict=False)
    return min(1.0, *(p / share for p, share in spent))
