"""What the comparison of arms with their controls can find, by their number and seeds."""

import bisect
from functools import cache

import numpy as np

from raykd.stats.means import SIGNIFICANCE
from raykd.stats.moderated import Array
from raykd.stats.power import detectable
from raykd.stats.rotations import MANY, adjusted_by_rotations

_POWER = 0.8
_NUM_STUDIES = 40
_NUM_ROTATIONS = 300
_LARGEST = 200
"""Tenths of a standard deviation up to which is searched."""


@cache
def detectable_among(num_arms: int, num_seeds: int) -> float | None:
    """Return the difference of one arm of many that is found in 80 % of cases.

    In standard deviations of the differences over seeds. Exact for few arms, which are compared by
    Student's t. For many it is simulated, to about a fifth, with arms that are alike noisy: where
    they are not, it is more. None for fewer than 2 seeds, and where 20 are not found.
    """
    if num_arms < MANY or num_seeds < 2:  # noqa: PLR2004  a spread needs two
        return detectable(num_seeds, expect="different", alpha=SIGNIFICANCE / num_arms)
    random = np.random.default_rng(17)
    studies = [random.normal(size=(num_arms, num_seeds)) for _ in range(_NUM_STUDIES)]

    def is_found(tenths: int) -> bool:
        return sum(_is_first_found(s, tenths / 10) for s in studies) >= _POWER * _NUM_STUDIES

    tenths = range(1, _LARGEST + 1)
    index = bisect.bisect_left(tenths, True, key=is_found)  # noqa: FBT003  the value searched for
    return tenths[index] / 10 if index < len(tenths) else None


def _is_first_found(noise_AS: Array, difference: float) -> bool:
    moved_AS = noise_AS.copy()
    moved_AS[0] += difference
    first, *_ = adjusted_by_rotations(
        moved_AS, num_arms=len(moved_AS), num_rotations=_NUM_ROTATIONS
    )
    return first < SIGNIFICANCE
