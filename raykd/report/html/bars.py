"""Small bars for the intervals of a table, those of one metric on one scale around 0.

They repeat the numbers that stand beside them, so they are hidden from screen readers.
"""

from markupsafe import Markup

from raykd.report.bars import Bar
from raykd.report.html.scales import is_number

WIDTH, HEIGHT = 132, 16
_MARGIN = 5


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
    margins = Markup("").join(
        Markup('<path class="margin" d="M{} 0V{}"/>').format(_at(margin, reach), HEIGHT)
        for margin in bar.margins
    )
    return Markup(
        '<svg class="interval {}" width="{}" height="{}" viewBox="0 0 {} {}" aria-hidden="true">'
        '<path class="zero" d="M{} 0V{}"/>{}{}{}</svg>'
    ).format(
        *(verdict, WIDTH, HEIGHT, WIDTH, HEIGHT, WIDTH / 2, HEIGHT),
        *(margins, _ends(bar, reach), mean),
    )


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
