"""Line charts as SVG: means with bands, and points with lines through them.

Colours are classes of the page's style sheet, so one drawing serves the light and the dark
scheme and paper; a line is told from another by its dashes too. All text is escaped.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup

from raykd.report.html.scales import Scale, is_number, scale

WIDTH, HEIGHT = 400, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 14, 44

_SHARE_OF_SETTLING = 0.2
_TIMES_AS_HIGH = 3.0
_FEWEST_SETTLED = 5
"""Points of a line that must be left where early ones are cut off: fewer are fragments."""

NUM_STYLES = 6
"""Lines that can be told apart; the control has a style of its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One value of a line, with the range around it where there is one."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    label: str = ""
    """Stands above its marker."""

    @property
    def is_shown(self) -> bool:
        """Whether it has a place in the drawing."""
        return is_number(self.x) and is_number(self.y)


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line of a chart."""

    label: str
    style: str
    """``control``, or a number below NUM_STYLES."""

    points: tuple[Point, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class LineChart:
    """What a chart shows, in words and numbers."""

    id: str
    """Unique in the page."""

    title: str
    description: str
    x_title: str
    y_title: str
    lines: tuple[Line, ...]
    has_zero: bool = False
    """Whether 0 means something: it is in the drawing, with a line of its own."""

    has_markers: bool = False
    """Whether points are drawn and ranges are bars: few points, far apart."""

    @property
    def shown(self) -> list[Line]:
        """The lines that have a point to show."""
        return [line for line in self.lines if any(p.is_shown for p in line.points)]


def line_style(index: int) -> str:
    """Return the style of the line with an index; there are few, and they come again."""
    return str(index % NUM_STYLES)


def swatch(style: str) -> Markup:
    """Return a short piece of a line, for a legend."""
    return Markup(
        '<svg class="swatch" width="28" height="10" viewBox="0 0 28 10" aria-hidden="true">'
        '<path class="line s-{}" d="M1 5H27"/></svg>'
    ).format(style)


def num_outside(chart: LineChart) -> int:
    """Return how many early points lie outside the drawing."""
    first, last = _y_range(chart)
    points = (p for line in chart.shown for p in line.points if p.is_shown)
    return sum(not first <= p.y <= last for p in points)


def draw(chart: LineChart) -> Markup:
    """Return the chart as one SVG element; nothing where no point can be shown."""
    if not chart.shown:
        return Markup("")
    xs = [p.x for line in chart.shown for p in line.points if p.is_shown]
    x = scale(xs, start=_LEFT, end=WIDTH - _RIGHT)
    y = scale(_y_range(chart), start=HEIGHT - _BOTTOM, end=_TOP)
    # What arms are compared with stays visible where they are as good as it.
    control_last = sorted(chart.shown, key=lambda line: line.style == "control")
    return Markup(
        '<svg class="chart" viewBox="0 0 {w} {h}" role="img" '
        'aria-labelledby="{id}-title {id}-desc"><title id="{id}-title">{title}</title>'
        '<desc id="{id}-desc">{description}</desc>'
        '<clipPath id="{id}-frame"><rect x="{x}" y="{y}" width="{fw}" height="{fh}"/></clipPath>'
        '{axes}<g clip-path="url(#{id}-frame)">{lines}</g>{names}</svg>'
    ).format(
        w=WIDTH,
        h=HEIGHT,
        id=chart.id,
        title=chart.title,
        description=chart.description,
        x=_LEFT - 4,
        y=_TOP - 4,
        fw=WIDTH - _LEFT - _RIGHT + 8,
        fh=HEIGHT - _TOP - _BOTTOM + 8,
        axes=_axes(chart, x, y),
        # All bands below all lines: a band would tint the lines that it covers.
        lines=_join(_spread(line, x, y, has_markers=chart.has_markers) for line in chart.shown)
        + _join(_line(line, x, y, has_markers=chart.has_markers) for line in control_last),
        # Outside of the frame: that of the highest point stands above it.
        names=_join(_name(p, x, y) for line in chart.shown for p in line.points if p.label),
    )


def _y_range(chart: LineChart) -> tuple[float, float]:
    """Return lowest and highest value drawn.

    A model that begins untrained falls so far at first that what comes later would be one flat
    line: then the first fifth of the axis does not count, where every line has points enough
    after it.
    """
    points = [p for line in chart.shown for p in line.points if p.is_shown]
    start, end = min(p.x for p in points), max(p.x for p in points)
    settled_from = start + _SHARE_OF_SETTLING * (end - start)
    settled = [p for p in points if p.x >= settled_from]
    whole, later = _range(points, chart), _range(settled, chart)
    # > 0: a line that is level after its start has no height to compare with.
    is_flat = whole[1] - whole[0] > _TIMES_AS_HIGH * (later[1] - later[0]) > 0
    is_long = all(
        sum(p.is_shown and p.x >= settled_from for p in line.points) >= _FEWEST_SETTLED
        for line in chart.shown
    )
    return later if is_flat and is_long and not chart.has_markers else whole


def _range(points: Iterable[Point], chart: LineChart) -> tuple[float, float]:
    values = [0.0] if chart.has_zero else []
    for point in points:
        values += [v for v in (point.y, point.low, point.high) if v is not None and is_number(v)]
    return min(values), max(values)


def _axes(chart: LineChart, x: Scale, y: Scale) -> Markup:
    grid = _join(
        Markup(
            '<path class="grid" d="M{} {}H{}"/><text class="mark y" x="{}" y="{}">{}</text>'
        ).format(_LEFT, y(mark), WIDTH - _RIGHT, _LEFT - 6, y(mark) + 4, y.text(mark))
        for mark in y.marks
    )
    marks = _join(
        Markup(
            '<path class="axis" d="M{} {}v4"/><text class="mark x" x="{}" y="{}">{}</text>'
        ).format(x(mark), HEIGHT - _BOTTOM, x(mark), HEIGHT - _BOTTOM + 17, x.text(mark))
        for mark in x.marks
    )
    zero = Markup('<path class="zero" d="M{} {}H{}"/>').format(_LEFT, y(0), WIDTH - _RIGHT)
    titles = Markup(
        '<text class="axis-title x" x="{}" y="{}">{}</text>'
        '<text class="axis-title y" transform="translate(12 {}) rotate(-90)">{}</text>'
    ).format(
        (_LEFT + WIDTH - _RIGHT) / 2,
        HEIGHT - 8,
        chart.x_title,
        (_TOP + HEIGHT - _BOTTOM) / 2,
        chart.y_title,
    )
    return grid + marks + (zero if chart.has_zero else Markup("")) + titles


def _line(line: Line, x: Scale, y: Scale, *, has_markers: bool) -> Markup:
    points = [p for p in line.points if p.is_shown]
    path = "M" + "L".join(f"{x(p.x)} {y(p.y)}" for p in points)
    drawn = Markup('<path class="line s-{}" d="{}"/>').format(line.style, path)
    if has_markers or len(points) == 1:
        drawn += _join(_marker(p, line.style, x, y) for p in points)
    return drawn


def _spread(line: Line, x: Scale, y: Scale, *, has_markers: bool) -> Markup:
    points = [p for p in line.points if p.is_shown and is_number(p.low) and is_number(p.high)]
    if has_markers:
        return _join(_bar(p, line.style, x, y) for p in points)
    return _band(points, line.style, x, y)


def _band(points: list[Point], style: str, x: Scale, y: Scale) -> Markup:
    if len(points) < 2 or all(p.low == p.high for p in points):  # noqa: PLR2004  no area
        return Markup("")
    upper = [f"{x(p.x)} {y(p.high)}" for p in points if p.high is not None]
    lower = [f"{x(p.x)} {y(p.low)}" for p in reversed(points) if p.low is not None]
    path = "M" + "L".join(upper + lower) + "Z"
    return Markup('<path class="band s-{}" d="{}"/>').format(style, path)


def _bar(point: Point, style: str, x: Scale, y: Scale) -> Markup:
    if point.low is None or point.high is None:
        return Markup("")
    return Markup('<path class="range s-{}" d="M{} {}V{}"/>').format(
        style, x(point.x), y(point.low), y(point.high)
    )


def _marker(point: Point, style: str, x: Scale, y: Scale) -> Markup:
    return Markup('<circle class="marker s-{}" cx="{}" cy="{}" r="3.5"/>').format(
        style, x(point.x), y(point.y)
    )


def _name(point: Point, x: Scale, y: Scale) -> Markup:
    return Markup('<text class="mark x" x="{}" y="{}">{}</text>').format(
        x(point.x), round(y(point.y) - 7, 1), point.label
    )


def _join(parts: Iterable[Markup]) -> Markup:
    return Markup("").join(parts)
