"""The mean of a few numbers, and how sure it is: Student's t."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import stdtr, stdtrit

SIGNIFICANCE = 0.05

_EQUAL_FRACTION = 1e-12
"""Numbers that spread less than this share of their size are equal but for rounding."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """The mean of a few numbers, how sure it is, and how surprising if the truth were 0."""

    low: float
    high: float
    p: float
    """Two-sided."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mean:
    """What is known of a true mean from a few numbers with a spread."""

    mean: float
    error: float
    """Standard error, > 0."""

    freedom: float
    """Degrees of freedom of the error."""

    def below(self, value: float) -> float:
        """Return the one-sided p value of a true mean that is at most value."""
        # A lower tail, and not 1 minus the upper one, which is 0 for every p below 1e-16.
        return float(stdtr(self.freedom, (value - self.mean) / self.error))

    def above(self, value: float) -> float:
        """Return the one-sided p value of a true mean that is at least value."""
        return float(stdtr(self.freedom, (self.mean - value) / self.error))

    def interval(self, level: float) -> Interval:
        """Return the interval that has the true mean with this probability, and the p of 0."""
        reach = float(stdtrit(self.freedom, (1 + level) / 2)) * self.error
        return Interval(
            low=self.mean - reach,
            high=self.mean + reach,
            p=2 * min(self.below(0.0), self.above(0.0)),
        )


def mean_of(values: Sequence[float]) -> Mean | None:
    """Return the mean with its error; None for fewer than 2 values and for flat ones."""
    # Equal differences have a standard error of 0: t would be infinite, and p 0, of no evidence.
    if len(values) < 2 or is_flat(values):  # noqa: PLR2004  a spread needs two
        return None
    return Mean(
        mean=statistics.fmean(values),
        # stdev divides by n - 1 and sums without rounding: differences in the last digits have a
        # spread.
        error=statistics.stdev(values) / math.sqrt(len(values)),
        freedom=len(values) - 1,
    )


def interval(values: Sequence[float], *, level: float = 0.95) -> Interval | None:
    """Return the interval of the mean and the p value of 0, by Student's t.

    None for fewer than 2 values, and for values that are all the same.
    """
    mean = mean_of(values)
    return None if mean is None else mean.interval(level)


def is_flat(values: Sequence[float]) -> bool:
    """Return whether values, one or more, are all the same but for rounding."""
    # Relative, as losses and accuracies differ in size by orders of magnitude.
    largest = max(abs(value) for value in values)
    return max(values) - min(values) <= _EQUAL_FRACTION * largest
