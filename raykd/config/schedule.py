"""Values that follow the progress of a run, written as one short string.

    "1"                     constant
    "4 -> 1"                linear from the first step to the last
    "4 ~> 1"                half a cosine instead of a line
    "4 @ 0.5 -> 1"          4 during the first half, then linear to 1 at the end
    "4 @ 0.5 -> 1 @ 0.5"    piecewise constant: 4 in the first half, 1 in the second

A point is a value, optionally with the fraction of the run (0 to 1) where it holds;
points without a fraction spread evenly. Before the first point and after the last the
value stays.
"""

import itertools
import math
import re
from dataclasses import dataclass

_POINT = re.compile(r"^(?P<value>[^@]+?)(?:@(?P<at>[^@]+))?$")


@dataclass(frozen=True, slots=True)
class _Point:
    at: float
    value: float
    is_cosine: bool
    """Whether the way to this point is half a cosine instead of a line."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A function of progress through a run."""

    points: tuple[_Point, ...]

    @property
    def values(self) -> tuple[float, ...]:
        """The value of each point, the extremes of the schedule among them."""
        return tuple(point.value for point in self.points)

    def at(self, progress: float) -> float:
        """Return the value at a progress between 0 (first step) and 1 (last step)."""
        # Of two points at one fraction the later holds from there on, which makes a jump. The next
        # one then lies beyond the progress, so that the division below is never by 0.
        before = [point for point in self.points if point.at <= progress]
        if not before:
            return self.points[0].value
        last = before[-1]
        if len(before) == len(self.points):
            return last.value
        following = self.points[len(before)]
        share = (progress - last.at) / (following.at - last.at)
        if following.is_cosine:
            # Level at both ends, and half of the way in the middle.
            share = (1 - math.cos(math.pi * share)) / 2
        return last.value + (following.value - last.value) * share


def parse_schedule(text: str) -> Schedule:
    """Read a schedule such as ``"4 -> 1"``; the module docstring has the grammar.

    Raises:
        ValueError: The text is not a schedule, or its fractions do not rise from 0 to 1.
    """
    # With the arrows, at the odd places.
    parts = re.split(r"([-~]>)", text)
    matches = [_POINT.match(part.strip()) for part in parts[::2]]
    try:
        values = [float(match["value"]) for match in matches if match]
        fractions = [float(m["at"]) if m["at"] else None for m in matches if m]
    except ValueError:
        values, fractions = [], []
    if len(values) != len(matches) or not all(map(math.isfinite, values)):
        message = f"{text!r} is not a schedule: write '1', '4 -> 1' or '4 @ 0.5 -> 1'"
        raise ValueError(message)
    # A single point is at 0, and holds throughout.
    last = max(len(values) - 1, 1)
    at = [index / last if given is None else given for index, given in enumerate(fractions)]
    if not all(0 <= fraction <= 1 for fraction in at) or any(
        earlier > later for earlier, later in itertools.pairwise(at)
    ):
        message = f"{text!r}: the fractions after @ must rise from 0 to 1, got {at}"
        raise ValueError(message)
    arrows = ["->", *parts[1::2]]
    return Schedule(
        tuple(
            _Point(at=fraction, value=value, is_cosine=arrow == "~>")
            for fraction, value, arrow in zip(at, values, arrows, strict=True)
        )
    )


def schedule_problems(
    key: str, text: str, *, minimum: float, exclusive: bool = False
) -> list[str]:
    """Return why a schedule cannot be used, naming its key."""
    try:
        # A schedule lies between its points, so the least of them bounds it.
        lowest = min(parse_schedule(text).values)
    except ValueError as error:
        return [f"{key}: {error}"]
    if lowest < minimum or (exclusive and lowest == minimum):
        return [f"{key} must be {'>' if exclusive else '>='} {minimum:g}, got {text!r}"]
    return []
