"""Figures: a drawing, a legend and, for everyone, the same numbers as a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from markupsafe import Markup

from raykd.report.html.line_chart import Line, LineChart, draw, num_outside, swatch
from raykd.report.html.tables import Table

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True, slots=True)
class LegendEntry:
    """One line of a drawing and its name."""

    swatch: Markup
    label: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """One figure."""

    title: str
    drawing: Markup
    legend: tuple[LegendEntry, ...]
    notes: tuple[str, ...]
    table: Table

    by_compute: Markup | None
    """The same over FLOPs; None where they are unknown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Panels:
    """The figures of one section."""

    panels: tuple[Panel, ...]
    note: str = ""
    """What is left out."""


def panel(
    chart: LineChart, *, table: Table, notes: Sequence[str] = (), by_compute: Markup | None = None
) -> Panel:
    """Return the figure of a chart.

    Args:
        chart: What to draw.
        table: The same numbers.
        notes: What a reader has to know of it.
        by_compute: A second drawing of the same.
    """
    outside = num_outside(chart) if chart.shown else 0
    if outside:
        notes = [*notes, f"{outside} early values lie outside the drawing."]
    return Panel(
        title=chart.title,
        drawing=draw(chart),
        legend=legend(chart.shown),
        notes=tuple(notes),
        table=table,
        by_compute=by_compute,
    )


def legend(lines: Sequence[Line]) -> tuple[LegendEntry, ...]:
    """Return the names of lines."""
    return tuple(LegendEntry(swatch=swatch(line.style), label=line.label) for line in lines)


def thinned(items: Sequence[Item], most: int) -> list[Item]:
    """Return at most so many items, evenly, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    last = len(items) - 1
    # Points that were evaluated, not means of neighbours: nothing on the page is interpolated.
    return [items[round(i * last / (most - 1))] for i in range(most)]
