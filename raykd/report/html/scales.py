"""Axes of the plots: where their marks stand, and numbers as short text.

Guaranteed: a number that is missing or not finite reads as a dash and never raises.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from raykd.report.units import UNKNOWN, amount

MINUS = "\N{MINUS SIGN}"


def is_number(value: float | None) -> bool:
    """Whether there is a value to show."""
    return value is not None and math.isfinite(value)


def number(value: float | None, *, digits: int = 4) -> str:
    """Return a value with so many significant digits, never in the notation 1e-05."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}".replace("-", MINUS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """A linear map of values to positions in the drawing."""

    low: float
    high: float
    start: float
    """Position of low."""

    end: float
    """Position of high."""

    marks: tuple[float, ...]
    """Values that are named at the axis."""

    def __call__(self, value: float) -> float:
        """Return the position of a value, to a tenth of a unit of the drawing."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def text(self, mark: float) -> str:
        """Return a mark as text: with a prefix from 10,000 on, else as many decimals as needed."""
        top = max(abs(m) for m in self.marks)
        if top >= 10_000:  # noqa: PLR2004  longer numbers do not fit below an axis
            return f"{MINUS[mark >= 0 :]}{amount(abs(mark))}"
        step = self.marks[1] - self.marks[0] if len(self.marks) > 1 else top or 1.0
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        return f"{mark:.{decimals}f}".replace("-", MINUS)


_NOTHING = 1e-300
"""Difference of two values below which they are one."""


def scale(values: Sequence[float], *, start: float, end: float, num_marks: int = 5) -> Scale:
    """Return a scale that holds all values and begins and ends at a mark."""
    low, high = min(values), max(values)
    # Equal but for rounding: marks so close would read alike; the smallest numbers have no
    # logarithm.
    if not high - low > max(1e-12 * max(abs(low), abs(high)), _NOTHING):
        margin = abs(low) * 0.05 or 1.0
        low, high = low - margin, high + margin
    marks = nice_marks(low, high, num_marks)
    return Scale(low=marks[0], high=marks[-1], start=start, end=end, marks=marks)


def nice_marks(low: float, high: float, num_marks: int = 5) -> tuple[float, ...]:
    """Return evenly spaced round values around a range: steps of 1, 2 or 5 times ten to n."""
    rough = (high - low) / max(1, num_marks - 1)
    magnitude = 10.0 ** math.floor(math.log10(rough))
    # 1e-9: 0.3 / 0.1 is 2.9999999999999996 in binary, and a range that is round already must not
    # grow by a mark.
    step = magnitude * next(f for f in (1, 2, 5, 10) if f * magnitude >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    # Multiples of a step below 1 gain digits that nobody asked for: 3 * 0.1.
    decimals = max(0, 2 - math.floor(math.log10(step)))
    return tuple(round(i * step, decimals) for i in range(first, last + 1))
