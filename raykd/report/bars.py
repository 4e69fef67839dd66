"""Intervals to draw: where they lie, their margins, and how far a scale goes."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from raykd.sweep.questions.answers import Answer


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """A difference and its interval; None where that is unknown."""

    mean: float
    low: float | None
    high: float | None
    margins: tuple[float, ...] = ()
    """What is marked beside 0."""


def facing(bar: Bar, mode: Literal["min", "max"]) -> Bar:
    """Return a bar with better to the right."""
    if mode == "max":
        return bar
    return Bar(
        # Negated, an interval's ends change places.
        mean=-bar.mean,
        low=None if bar.high is None else -bar.high,
        high=None if bar.low is None else -bar.low,
        margins=tuple(-margin for margin in bar.margins),
    )


def reach(bars: Sequence[Bar]) -> float:
    """Return how far from 0 the scale goes.

    One very wide interval, such as that of two seeds, would press all others into a point: the
    scale holds every mean and margin, and intervals up to twice as far as the farthest of them, or
    as an ordinary interval.
    """
    means = [abs(v) for i in bars for v in (i.mean, *i.margins) if math.isfinite(v)]
    ends = [
        max(abs(bar.low), abs(bar.high))
        for bar in bars
        if bar.low is not None and bar.high is not None and math.isfinite(bar.high - bar.low)
    ]
    farthest = max(means, default=0.0)
    limit = 2 * max(farthest, statistics.median_low(ends or [0.0]))
    return max([farthest, *(min(e, limit) for e in ends)]) or 1.0


def bar_of(answer: Answer) -> Bar | None:
    """Return an answer's interval with its margins; None before there is a difference."""
    if answer.estimate is None:
        return None
    return Bar(mean=answer.estimate, low=answer.low, high=answer.high, margins=_margins(answer))


def reaches(answers: Sequence[Answer]) -> list[float]:
    """Return for each answer how far from 0 its scale goes.

    Questions of one metric share a scale; one with a margin has its own, as that may be far
    smaller than what the others find.
    """
    scales = [(answer.metric, answer.question.margin) for answer in answers]
    drawn = [(scale, bar_of(a)) for scale, a in zip(scales, answers, strict=True)]
    of_scale = {
        # 1.25: the margin itself is inside.
        scale: max(reach([bar for s, bar in drawn if s == scale and bar]), 1.25 * (scale[1] or 0))
        for scale in set(scales)
    }
    return [of_scale[scale] for scale in scales]


def _margins(answer: Answer) -> tuple[float, ...]:
    margin = answer.question.margin
    if margin is None:
        return ()
    worse = -margin if answer.mode == "max" else margin
    return (worse, -worse) if answer.question.expect == "alike" else (worse,)
