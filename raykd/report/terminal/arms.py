"""The arms of a sweep in a terminal: each against its control, and heat maps."""

from collections.abc import Iterable, Iterator

from rich.console import RenderableType
from rich.text import Text

from raykd.report.arms import Arm
from raykd.report.grids import Cell, Grid
from raykd.report.statistics import Comparison
from raykd.report.summary import Summary
from raykd.report.terminal.layout import by_reason, metric_text, table
from raykd.report.units import UNKNOWN, number
from raykd.sweep.questions.wording import p_text

_MAX_ARMS = 40
_STYLES = {"better": "green", "worse": "red", "inconclusive": "dim"}


def verdicts(summary: Summary) -> Iterator[RenderableType]:
    """Yield the best arms against their controls, and the rule."""
    arms = _shown(summary)
    # Beside questions, which were asked beforehand, whatever stands out here is only found.
    exploration = "exploration, each arm against its control: " if summary.answers else ""
    yield from table(
        f"{exploration}{metric_text(summary.metric, summary.mode)}",
        ["arm", "seeds", "mean", "difference", "95 % interval", "adj. p", "verdict"],
        [_arm_row(arm) for arm in arms],
        words=["verdict"],
    )
    if len(arms) < len(summary.arms):
        yield Text(f"the best {len(arms)} of {len(summary.arms)} arms; the report has all")
    yield from _not_ready(summary.arms)
    if summary.caution:
        yield Text(summary.caution, style="yellow")
    yield Text()
    yield Text(summary.rule, style="dim")


def _shown(summary: Summary) -> list[Arm]:
    """Return the arms there is room for, in the order of the plan: controls, then the best."""
    direction = 1 if summary.mode == "min" else -1

    def rank(arm: Arm) -> tuple[bool, bool, float]:
        mean = None if arm.comparison is None else arm.comparison.mean
        # Controls first, those without a difference last.
        return not arm.is_control, mean is None, direction * (mean or 0.0)

    best = {arm.id for arm in sorted(summary.arms, key=rank)[:_MAX_ARMS]}
    return [arm for arm in summary.arms if arm.id in best]


def _arm_row(arm: Arm) -> list[str | Text]:
    compared = arm.comparison
    if compared is None:
        seeds = f"{len(arm.values)}/{arm.num_trials}"
        return [arm.label, seeds, number(arm.mean), *[UNKNOWN] * 4]
    return [
        arm.label,
        f"{compared.num_pairs}/{compared.num_planned}",
        number(arm.mean),
        number(compared.mean, sign="+"),
        _interval(compared),
        p_text(compared.adjusted_p),
        Text(compared.verdict, style=_STYLES[compared.verdict]),
    ]


def _interval(compared: Comparison) -> str:
    if compared.low is None:
        return UNKNOWN
    return f"{number(compared.low, sign='+')} to {number(compared.high, sign='+')}"


def _not_ready(arms: Iterable[Arm]) -> Iterator[Text]:
    """Name the arms that no test was made for, by reason."""
    untested = [
        (arm.comparison.reason, arm.label)
        for arm in arms
        if arm.comparison is not None and arm.comparison.adjusted_p is None
    ]
    return (Text(f"not tested: {line}") for line in by_reason(untested))


def grid_table(grid: Grid) -> list[RenderableType]:
    """Return the mean differences to the controls over two coordinates."""
    return table(
        f"difference to the control (pairs): {grid.row_name} by {grid.column_name}",
        ["", *grid.columns],
        [
            [row, *(_cell_text(cell) for cell in cells)]
            for row, cells in zip(grid.rows, grid.cells, strict=True)
        ],
    )


def _cell_text(cell: Cell | None) -> str:
    return UNKNOWN if cell is None else f"{number(cell.difference, sign='+')} ({cell.num_pairs})"
