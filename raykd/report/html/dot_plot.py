"""Dot plots as SVG: a row for each seed, below them the mean with its interval."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from raykd.report.bars import Bar
from raykd.report.html.scales import Scale, scale

WIDTH = 400
_LEFT, _RIGHT, _TOP, _BOTTOM, _ROW = 84, 24, 24, 44, 20


@dataclass(frozen=True, kw_only=True, slots=True)
class DotPlot:
    """What a plot shows, in words and numbers."""

    id: str
    """Unique in the page."""

    title: str
    description: str
    x_title: str
    dots: dict[str, float]
    """Name of a row to its value."""

    mean: Bar
    """Their mean with its interval, and the margins that are marked beside 0."""

    mode: Literal["min", "max"]
    """Whether less or more is better, which is to the right."""

    css: str
    """Names the colour of the mean."""


def draw(plot: DotPlot) -> Markup:
    """Return the plot as one SVG element."""
    x = _scale(plot)
    rows = [_TOP + _ROW * (index + 0.5) for index in range(len(plot.dots))]
    mean, bottom = _TOP + _ROW * (len(rows) + 0.75), _TOP + _ROW * (len(rows) + 1.25)
    return Markup(
        '<svg class="chart dots {css}" viewBox="0 0 {w} {h}" role="img" '
        'aria-labelledby="{id}-title {id}-desc"><title id="{id}-title">{title}</title>'
        '<desc id="{id}-desc">{description}</desc>{axis}{lines}{dots}{mean}</svg>'
    ).format(
        css=plot.css,
        w=WIDTH,
        h=bottom + _BOTTOM,
        id=plot.id,
        title=plot.title,
        description=plot.description,
        axis=_axis(x, plot.x_title, bottom),
        lines=_zero_and_margins(plot.mean.margins, x, bottom),
        dots=_join(
            _label(name, y)
            + Markup('<circle class="dot" cx="{}" cy="{}" r="3.5"/>').format(x(value), y)
            for (name, value), y in zip(plot.dots.items(), rows, strict=True)
        ),
        mean=_mean(plot.mean, x, mean),
    )


def _scale(plot: DotPlot) -> Scale:
    ends = (end for end in (plot.mean.low, plot.mean.high) if end is not None)
    values = [0.0, plot.mean.mean, *plot.mean.margins, *ends, *plot.dots.values()]
    left, right = _LEFT, WIDTH - _RIGHT
    if plot.mode == "min":
        left, right = right, left
    return scale(values, start=left, end=right)


def _axis(x: Scale, title: str, bottom: float) -> Markup:
    marks = _join(
        Markup(
            '<path class="grid" d="M{} {}V{}"/><text class="mark x" x="{}" y="{}">{}</text>'
        ).format(x(mark), _TOP, bottom, x(mark), bottom + 16, x.text(mark))
        for mark in x.marks
    )
    named = Markup('<text class="axis-title" x="{}" y="{}">{}</text>').format(
        (_LEFT + WIDTH - _RIGHT) / 2, bottom + _BOTTOM - 8, title
    )
    return marks + named


def _zero_and_margins(margins: Iterable[float], x: Scale, bottom: float) -> Markup:
    zero = Markup('<path class="zero" d="M{} {}V{}"/>').format(x(0), _TOP - 4, bottom)
    return zero + _join(
        Markup(
            '<path class="margin" d="M{} {}V{}"/><text class="mark x" x="{}" y="{}">margin</text>'
        ).format(x(margin), _TOP - 4, bottom, x(margin), _TOP - 9)
        for margin in margins
    )


def _label(name: str, y: float) -> Markup:
    return Markup('<text class="mark y" x="{}" y="{}">{}</text>').format(_LEFT - 10, y + 4, name)


def _mean(mean: Bar, x: Scale, y: float) -> Markup:
    drawn = _label("mean", y)
    if mean.low is not None and mean.high is not None:
        low, high = x(mean.low), x(mean.high)
        drawn += Markup('<path class="bar" d="M{} {}H{}M{} {}v10M{} {}v10"/>').format(
            low, y, high, low, y - 5, high, y - 5
        )
    return drawn + Markup('<path class="mean" d="M{} {}l5 6l-5 6l-5 -6z"/>').format(
        x(mean.mean), y - 6
    )


def _join(parts: Iterable[Markup]) -> Markup:
    return Markup("").join(parts)
