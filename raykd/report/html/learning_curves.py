"""Learning curves: for each teacher and control, the best arms beside the control."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from raykd.config.schema.study import is_probe_metric
from raykd.report.arms import Arm
from raykd.report.curves import Curve, CurvePoint
from raykd.report.html.line_chart import NUM_STYLES, Line, LineChart, Point, draw, line_style
from raykd.report.html.panels import Panel, Panels, panel, thinned
from raykd.report.html.tables import Column, Row, Table, decimals_for, fixed, texts
from raykd.report.html.verdicts import gain, ranked
from raykd.report.probes import metric_words
from raykd.report.summary import Summary
from raykd.report.units import UNKNOWN, amount

MAX_PANELS = 12
MAX_POINTS = 50

_FEWEST_FOR_INTERVAL = 3

_COLUMNS = (
    Column(text="Arm", is_number=False),
    Column(text="Step"),
    Column(text="Tokens"),
    Column(text="FLOPs"),
    Column(text="Mean"),
    Column(text="Lowest"),
    Column(text="Highest"),
    Column(text="95 % interval of the mean"),
    Column(text="Runs"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Group:
    """Arms with one teacher and one control; or those that have none."""

    title: str
    control: Arm | None
    arms: list[Arm]


def learning_curves(summary: Summary) -> Panels:
    """Return the figures, those with the best arms where there are too many."""
    evaluated = {curve.arm for curve in summary.curves if curve.points}
    drawn = _groups([arm for arm in summary.arms if arm.id in evaluated])
    # By the best arm of each; sorted is stable, so that ties stay in the order of the plan.
    best = sorted(drawn, key=lambda group: -max(gain(a, summary.mode) for a in group.arms))
    shown = [group for group in drawn if group in best[:MAX_PANELS]]
    note = (
        f"{len(shown)} of {len(drawn)} figures, those with the largest gains."
        if len(shown) < len(drawn)
        else ""
    )
    panels = (_panel(group, f"curves-{index}", summary) for index, group in enumerate(shown))
    return Panels(panels=tuple(panels), note=note)


def arms_figure(
    arms: Sequence[Arm], *, control: Arm | None, title: str, chart_id: str, summary: Summary
) -> Panel | None:
    """Return one figure of a few arms; None where none of them is evaluated."""
    evaluated = {curve.arm for curve in summary.curves if curve.points}
    group = _Group(
        title=title,
        control=control if control and control.id in evaluated else None,
        arms=[arm for arm in arms if arm.id in evaluated],
    )
    return _panel(group, chart_id, summary) if group.arms else None


def _groups(arms: Sequence[Arm]) -> list[_Group]:
    controls = {arm.id: arm for arm in arms if arm.is_control}
    groups: dict[tuple[str, str], list[Arm]] = {}
    for arm in arms:
        if not arm.is_control:
            control = (arm.comparison.control if arm.comparison else None) or ""
            groups.setdefault((_teacher(arm), control), []).append(arm)
    if not groups:
        return [_Group(title="Controls", control=None, arms=list(arms))] if arms else []
    return [
        _Group(
            title=_title(teacher, controls.get(control)),
            control=controls.get(control),
            arms=grouped,
        )
        for (teacher, control), grouped in groups.items()
    ]


def _teacher(arm: Arm) -> str:
    teacher = arm.coordinates.get("teacher")
    return "All arms" if teacher is None else f"Teacher {teacher}"


def _title(teacher: str, control: Arm | None) -> str:
    return teacher if control is None else f"{teacher} against {control.label}"


def _panel(group: _Group, chart_id: str, summary: Summary) -> Panel:
    curves = {curve.arm: _thin(curve) for curve in summary.curves}
    best = ranked(group.arms, summary.mode)[:NUM_STYLES]
    shown = [*([group.control] if group.control else []), *best]
    chart = LineChart(
        id=chart_id,
        title=group.title,
        description=_description(summary.metric, shown, curves),
        x_title="steps",
        y_title=metric_words(summary.metric),
        lines=tuple(_lines(group.control, best, curves)),
        # Models are probed at few steps, often at the last alone, which makes no line.
        has_markers=is_probe_metric(summary.metric),
    )
    left_out = len(group.arms) - len(best)
    notes = [f"The best {len(best)} of {len(group.arms)} arms."] if left_out else []
    return panel(
        chart,
        table=_table(group.title, shown, curves),
        notes=notes,
        by_compute=_by_compute(chart, group.control, best, curves),
    )


def _thin(curve: Curve) -> Curve:
    # The page of a thousand trials must stay small; summary.json has every point.
    return replace(curve, points=tuple(thinned(curve.points, MAX_POINTS)))


def _description(metric: str, arms: Sequence[Arm], curves: dict[str, Curve]) -> str:
    ends = [
        f"{arm.label} ends at {points[-1].mean:.4g}"
        for arm in arms
        if (points := curves[arm.id].points)
    ]
    return f"{metric} over training steps, means over seeds. {'; '.join(ends)}."


def _lines(
    control: Arm | None, arms: Sequence[Arm], curves: dict[str, Curve], *, by_flops: bool = False
) -> list[Line]:
    styled = [(control, "control")] if control is not None else []
    styled += [(arm, line_style(index)) for index, arm in enumerate(arms)]
    return [
        Line(label=arm.label, style=style, points=_points(curves[arm.id], by_flops=by_flops))
        for arm, style in styled
    ]


def _points(curve: Curve, *, by_flops: bool) -> tuple[Point, ...]:
    return tuple(
        Point(x=x, y=p.mean, low=low, high=high)
        for p in curve.points
        for low, high in [_band(p)]
        # Teachers cost a multiple of a small student: at equal steps an arm has spent far more.
        if (x := p.flops if by_flops else float(p.step)) is not None
    )


def _band(point: CurvePoint) -> tuple[float, float]:
    """Return the interval of the mean; the range of two seeds, whose interval is 13 times it."""
    if point.num_trials < _FEWEST_FOR_INTERVAL or point.ci_low is None or point.ci_high is None:
        return point.low, point.high
    return point.ci_low, point.ci_high


def _by_compute(
    chart: LineChart, control: Arm | None, arms: Sequence[Arm], curves: dict[str, Curve]
) -> Markup:
    return draw(
        replace(
            chart,
            id=f"{chart.id}-flops",
            title=f"{chart.title}, by compute",
            description=chart.description.replace("training steps", "FLOPs with the teacher's"),
            x_title="FLOPs, teachers included",
            lines=tuple(_lines(control, arms, curves, by_flops=True)),
        )
    )


def _table(title: str, arms: Sequence[Arm], curves: dict[str, Curve]) -> Table:
    points = [(arm.label, point) for arm in arms for point in curves[arm.id].points]
    decimals = decimals_for(point.mean for _, point in points)
    return Table(
        caption=f"Numbers of the figure: {title}",
        columns=_COLUMNS,
        rows=tuple(_row(label, point, decimals) for label, point in points),
    )


def _row(label: str, point: CurvePoint, decimals: int) -> Row:
    spread = (fixed(value, decimals) for value in (point.mean, point.low, point.high))
    ends = (fixed(value, decimals) for value in (point.ci_low, point.ci_high))
    return Row(
        head=label,
        cells=texts(
            f"{point.step:,}",
            amount(point.tokens),
            amount(point.flops),
            *spread,
            UNKNOWN if point.ci_low is None else " to ".join(ends),
            str(point.num_trials),
        ),
    )
