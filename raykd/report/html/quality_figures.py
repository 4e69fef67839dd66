"""How weak a teacher may be: its own score against the gain of its students, by weight."""

from collections.abc import Sequence

from raykd.report.html.line_chart import NUM_STYLES, Line, LineChart, Point, line_style
from raykd.report.html.panels import Panel, Panels, panel
from raykd.report.html.scales import number
from raykd.report.html.tables import (
    Column,
    Row,
    Table,
    decimals_for,
    fixed,
    fixed_signed,
    texts,
)
from raykd.report.probes import metric_words
from raykd.report.qualities import Quality
from raykd.report.summary import Summary
from raykd.report.units import UNKNOWN

MAX_PANELS = 8
MAX_WEIGHTS = 12


def quality_figures(summary: Summary) -> Panels:
    """Return a figure for each teacher with several qualities; else one of all teachers."""
    several = {
        f"Teacher {teacher}": qualities
        for teacher, qualities in _by_teacher(summary.qualities).items()
        if len(qualities) > 1
    }
    # A single quality of each teacher is one point: across teachers they make a line.
    figures = several or {"All teachers": list(summary.qualities)}
    drawn = {
        title: qualities for title, qualities in figures.items() if _num_points(qualities) > 1
    }
    shown = list(drawn.items())[:MAX_PANELS]
    return Panels(
        panels=tuple(
            _figure(title, qualities, index, summary)
            for index, (title, qualities) in enumerate(shown)
        ),
        note=f"{len(shown)} of {len(drawn)} teachers." if len(shown) < len(drawn) else "",
    )


def quality_table(qualities: Sequence[Quality], title: str = "all teachers") -> Table:
    """Return qualities as numbers."""
    all_weights = _weights(qualities)
    weights = all_weights[:MAX_WEIGHTS]
    scores = decimals_for(value for q in qualities for value in (q.score, q.control_mean))
    decimals = decimals_for(d.mean for q in qualities for d in q.differences)
    return Table(
        caption=f"Numbers of the figure: {title}; mean difference to the control (pairs)",
        columns=(
            Column(text="Teacher", is_number=False),
            Column(text="Quality"),
            Column(text="Own score"),
            Column(text="Control"),
            *(Column(text=_weight_name(weight)) for weight in weights),
        ),
        rows=tuple(_row(quality, weights, scores, decimals) for quality in qualities),
        css="cards",
        note=f"The first {MAX_WEIGHTS} of {len(all_weights)} weights; all are in summary.json."
        if len(weights) < len(all_weights)
        else "",
    )


def _by_teacher(qualities: Sequence[Quality]) -> dict[str, list[Quality]]:
    by_teacher: dict[str, list[Quality]] = {}
    for quality in qualities:
        by_teacher.setdefault(quality.teacher, []).append(quality)
    return by_teacher


def _num_points(qualities: Sequence[Quality]) -> int:
    uses_score = _uses_score(qualities)
    return sum(_x(q, uses_score=uses_score) is not None and bool(q.differences) for q in qualities)


def _uses_score(qualities: Sequence[Quality]) -> bool:
    # One axis for the figure: a teacher without a score is left out of it, not put beside scores
    # by its share of steps.
    return any(quality.score is not None for quality in qualities)


def _x(quality: Quality, *, uses_score: bool) -> float | None:
    return quality.score if uses_score else quality.quality


def _weights(qualities: Sequence[Quality]) -> list[str]:
    return list(dict.fromkeys(d.weight for q in qualities for d in q.differences))


def _weight_name(weight: str) -> str:
    return "Difference" if weight == "all" else f"weight {weight}"


def _figure(title: str, qualities: list[Quality], index: int, summary: Summary) -> Panel:
    uses_score = _uses_score(qualities)
    all_weights = _weights(qualities)
    # More lines than styles could not be told apart.
    weights = all_weights[:NUM_STYLES]
    x_title = (
        f"teacher's own {metric_words(summary.metric)}"
        if uses_score
        else "share of the teacher's steps"
    )
    chart = LineChart(
        id=f"quality-{index}",
        title=title,
        description=f"Mean difference of {summary.metric} to the control over {x_title}; "
        f"one line for each weight: {', '.join(weights)}.",
        x_title=x_title,
        y_title="difference to control",
        lines=tuple(
            Line(
                label=_weight_name(weight),
                style=line_style(i),
                points=_points(qualities, weight, uses_score=uses_score),
            )
            for i, weight in enumerate(weights)
        ),
        has_zero=True,
        has_markers=True,
    )
    notes = _notes(summary, qualities)
    if len(weights) < len(all_weights):
        notes.append(f"The first {len(weights)} of {len(all_weights)} weights.")
    return panel(chart, table=quality_table(qualities, title), notes=notes)


def _notes(summary: Summary, qualities: Sequence[Quality]) -> list[str]:
    below = "below" if summary.mode == "min" else "above"
    notes = [f"Better than the control is {below} the line at 0."]
    means = [q.control_mean for q in qualities if q.control_mean is not None]
    if means:
        low, high = number(min(means)), number(max(means))
        notes.append(f"The controls end at {low if low == high else f'{low} to {high}'}.")
    return notes


def _points(qualities: Sequence[Quality], weight: str, *, uses_score: bool) -> tuple[Point, ...]:
    points = [
        Point(x=x, y=difference.mean)
        for quality in qualities
        if (x := _x(quality, uses_score=uses_score)) is not None
        for difference in quality.differences
        if difference.weight == weight
    ]
    return tuple(sorted(points, key=lambda point: point.x))


def _row(quality: Quality, weights: Sequence[str], scores: int, decimals: int) -> Row:
    by_weight = {d.weight: d for d in quality.differences}
    differences = (
        f"{fixed_signed(by_weight[w].mean, decimals)} ({by_weight[w].num_pairs})"
        if w in by_weight
        else fixed(None, 0)
        for w in weights
    )
    return Row(
        head=quality.teacher,
        cells=texts(
            UNKNOWN if quality.quality is None else f"{quality.quality:g}",
            fixed(quality.score, scores),
            fixed(quality.control_mean, scores),
            *differences,
        ),
    )
