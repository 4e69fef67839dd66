"""Small bars for the intervals of a table, all on one scale around the control at 0.

They repeat the numbers that stand beside them, so they are hidden from screen readers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from raykd.report.html.scales import is_number

WIDTH, HEIGHT = 132, 16
_MARGIN = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """A difference to the control and its interval; None where that is unknown."""

    mean: float
    low: float | None
    high: float | None


def reach(bars: Sequence[Bar]) -> float:
    """Return how far from 0 the scale goes.

    One very wide interval, such as that of two seeds, would press all others into a point: the
    scale holds every mean, and intervals up to five times as far as the farthest mean.
    """
    means = [abs(i.mean) for i in bars if is_number(i.mean)]
    ends = [abs(e) for i in bars for e in (i.low, i.high) if e is not None and is_number(e)]
    farthest = max(means, default=0.0)
    limit = 5 * farthest if farthest else max(ends, default=1.0)
    return max([farthest, *(min(e, limit) for e in ends)]) or 1.0


def draw(bar: Bar, *, reach: float, verdict: str) -> Markup:
    """Return one bar; an end that goes beyond the scale is an arrow.

    Args:
        bar: What to draw.
        reach: Largest value of the scale, to both sides.
        verdict: Names the colour.
    """
    if not is_number(bar.mean):
        return Markup("")
    middle = HEIGHT / 2
    mean = Markup('<circle cx="{}" cy="{}" r="3"/>').format(_at(bar.mean, reach), middle)
    return Markup(
        '<svg class="interval {}" width="{}" height="{}" viewBox="0 0 {} {}" aria-hidden="true">'
        '<path class="zero" d="M{} 0V{}"/>{}{}</svg>'
    ).format(verdict, WIDTH, HEIGHT, WIDTH, HEIGHT, WIDTH / 2, HEIGHT, _ends(bar, reach), mean)


def _ends(bar: Bar, reach: float) -> Markup:
    if bar.low is None or bar.high is None or not is_number(bar.high):
        return Markup("")
    low, high, middle = _at(bar.low, reach), _at(bar.high, reach), HEIGHT / 2
    # An arrow where the interval goes on, a bar across where it ends.
    left = "l4 -3m-4 3l4 3" if bar.low < -reach else "m0 -4v8"
    right = "l-4 -3m4 3l-4 3" if bar.high > reach else "m0 -4v8"
    return Markup('<path class="bar" d="M{} {}H{}M{} {}{}M{} {}{}"/>').format(
        low, middle, high, low, middle, left, high, middle, right
    )


def _at(value: float, reach: float) -> float:
    share = max(-1.0, min(1.0, value / reach))
    return round(WIDTH / 2 + share * (WIDTH / 2 - _MARGIN), 1)
