"""How large a standard deviation may be that only a few values tell of."""

import math
import statistics
from collections.abc import Iterable, Sequence

from scipy.special import chdtri

CONFIDENCE = 0.8
"""Of the limit: in that share of cases the true deviation lies below it."""


def deviation_limit(groups: Iterable[Sequence[float]]) -> float | None:
    """Return the upper confidence limit of the standard deviation of normal values.

    A study that is planned with the limit, and not with the deviation itself, has the power that
    it is planned for in at least that share of cases (Browne, 1995, Statistics in Medicine 14).

    Args:
        groups: Values that vary alike, about a mean for each group.

    Returns:
        None where no group has two different values.
    """
    several = [values for values in groups if len(values) > 1]
    squares = sum(statistics.variance(values) * (len(values) - 1) for values in several)
    if not squares:
        return None
    freedom = sum(len(values) - 1 for values in several)
    # The sum of squares over the variance follows a chi-squared distribution.
    return math.sqrt(squares / float(chdtri(freedom, CONFIDENCE)))
