"""Quality against cost: every arm as a point, and the Pareto frontier with its arms by name."""

from collections.abc import Sequence

from markupsafe import Markup

from raykd.report.efficiency.frontier import ArmPoint, CostName, Frontier
from raykd.report.efficiency.words import TITLES, cost_text
from raykd.report.html.line_chart import Line, LineChart, Point, draw
from raykd.report.html.panels import LegendEntry, Panel, Panels
from raykd.report.html.tables import Column, Row, Table, decimals_for, fixed, texts
from raykd.report.summary import Summary

MAX_POINTS = 300
"""Arms off the frontier that are drawn."""

MAX_NAMED = 12

_FRONTIER, _OTHER, _CONTROL = "0", "1", "control"

_NOTES: dict[CostName, tuple[str, ...]] = {
    "flops": (
        "Each arm as if it were the only one: with the whole training of the stages and teachers "
        "that the study trains for it, up to the checkpoint that it uses. What was there before "
        "the study costs nothing.",
    ),
    "latency": (),
}


def frontier_figures(summary: Summary) -> Panels:
    """Return one figure for each cost that arms differ in."""
    return Panels(panels=tuple(_panel(frontier, summary) for frontier in summary.frontier))


def _panel(frontier: Frontier, summary: Summary) -> Panel:
    best = frontier.best
    others = [p for p in frontier.points if not p.is_on_frontier]
    shown = others[:MAX_POINTS]
    notes = list(_NOTES[frontier.cost])
    if len(shown) < len(others):
        notes.append(f"{len(others) - len(shown)} more arms off the frontier are not drawn.")
    chart = LineChart(
        id=f"frontier-{frontier.cost}",
        title=f"{summary.metric} by {TITLES[frontier.cost]}",
        description=_description(frontier, summary),
        x_title="FLOPs" if frontier.cost == "flops" else "ms for one example",
        y_title=summary.metric,
        lines=(
            *(_line([p], _CONTROL if p.is_control else _OTHER) for p in shown),
            _line(best, _FRONTIER, named=True),
        ),
        has_markers=True,
    )
    return Panel(
        title=chart.title,
        drawing=draw(chart),
        legend=_legend(best, shown),
        notes=tuple(notes),
        table=_table(frontier, metric=summary.metric),
        by_compute=None,
    )


def _line(points: Sequence[ArmPoint], style: str, *, named: bool = False) -> Line:
    return Line(
        label=points[0].label,
        style=style,
        points=tuple(
            Point(x=p.cost, y=p.mean, label=str(number) if named else "")
            for number, p in enumerate(points, start=1)
        ),
    )


def _legend(best: Sequence[ArmPoint], others: Sequence[ArmPoint]) -> tuple[LegendEntry, ...]:
    """Return the names of the frontier's arms by their numbers, and what other points are."""
    names = [f"{number} {point.label}" for number, point in enumerate(best[:MAX_NAMED], start=1)]
    if len(best) > MAX_NAMED:
        names.append(f"and {len(best) - MAX_NAMED} more, in the numbers below")
    kinds = {_CONTROL: "controls off the frontier", _OTHER: "other arms"}
    present = {_CONTROL if point.is_control else _OTHER for point in others}
    return (
        *(LegendEntry(swatch=_dot(_FRONTIER), label=name) for name in names),
        *(
            LegendEntry(swatch=_dot(style), label=kind)
            for style, kind in kinds.items()
            if style in present
        ),
    )


def _dot(style: str) -> Markup:
    return Markup(
        '<svg class="swatch" width="28" height="10" viewBox="0 0 28 10" aria-hidden="true">'
        '<circle class="marker s-{}" cx="14" cy="5" r="3.5"/></svg>'
    ).format(style)


def _table(frontier: Frontier, *, metric: str) -> Table:
    best = frontier.best
    decimals = decimals_for(point.mean for point in best)
    return Table(
        caption=f"The Pareto frontier: no arm is as good for less, or better for as much; "
        f"{len(best)} of {len(frontier.points)} arms",
        columns=(
            Column(text="Arm", is_number=False),
            Column(text="Number"),
            Column(text=metric),
            Column(text="FLOPs" if frontier.cost == "flops" else "Latency"),
            Column(text="Times the cheapest"),
        ),
        rows=tuple(
            Row(
                head=point.label,
                cells=texts(
                    str(number),
                    fixed(point.mean, decimals),
                    cost_text(frontier.cost, point.cost),
                    fixed(point.cost / best[0].cost, 2),
                ),
            )
            for number, point in enumerate(best, start=1)
        ),
        css="cards",
    )


def _description(frontier: Frontier, summary: Summary) -> str:
    better = "higher" if summary.mode == "max" else "lower"
    first, last = frontier.best[0], frontier.best[-1]
    return (
        f"{len(frontier.points)} arms, {better} is better. The frontier goes from {first.label}, "
        f"{cost_text(frontier.cost, first.cost)}, to {last.label}, "
        f"{cost_text(frontier.cost, last.cost)}."
    )
