"""Which arms are better than their control, in one sentence and one table."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from raykd.report.arms import Arm
from raykd.report.bars import Bar, facing, reach
from raykd.report.html import bars
from raykd.report.html.tables import (
    Cell,
    Column,
    Row,
    Table,
    between,
    decimals_for,
    fixed,
    fixed_signed,
    texts,
)
from raykd.report.statistics import Comparison, Verdict

MAX_ARMS = 500

_SHAPES: dict[Verdict, str] = {"better": "▲", "worse": "▼", "inconclusive": "○"}

_COLUMNS = (
    Column(text="Arm", is_number=False),
    Column(text="Verdict", is_number=False),
    Column(text="Worse | better", is_number=False),
    Column(text="Difference"),
    Column(text="95 % interval"),
    Column(text="Mean"),
    Column(text="SD"),
    Column(text="Pairs"),
    Column(text="Runs done"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdicts:
    """What the arms of the sweep say so far."""

    headline: str
    table: Table


def ranked(arms: Sequence[Arm], mode: Literal["min", "max"]) -> list[Arm]:
    """Return arms from the largest gain to the largest loss, controls and the unknown last."""
    return sorted(arms, key=lambda arm: -gain(arm, mode))


def gain(arm: Arm, mode: Literal["min", "max"]) -> float:
    """Return how much better an arm is than its control; minus infinity where unknown."""
    if arm.comparison is None or arm.comparison.mean is None:
        # Below every loss, so that what is unknown sorts last in both modes.
        return float("-inf")
    return arm.comparison.mean if mode == "max" else -arm.comparison.mean


def verdicts(arms: Sequence[Arm], *, metric: str, mode: Literal["min", "max"]) -> Verdicts:
    """Return the sentence and the table."""
    shown = ranked(arms, mode)[:MAX_ARMS]
    compared = [arm.comparison for arm in shown if arm.comparison is not None]
    drawn = {arm.id: _bar(arm.comparison, mode) for arm in shown}
    differences = decimals_for([c.mean for c in compared])
    layout = _Layout(
        # At least the digits of the differences: else two means that differ would look equal.
        mean_decimals=max(differences, decimals_for([arm.mean for arm in shown])),
        decimals=differences,
        reach=reach([bar for bar in drawn.values() if bar is not None]),
    )
    left_out = len(arms) - len(shown)
    return Verdicts(
        headline=_headline(arms, mode),
        table=Table(
            caption=f"{metric} ({_direction(mode)}) at the end of training; "
            "differences are arm minus control, over seeds",
            columns=_COLUMNS,
            rows=tuple(_row(arm, drawn[arm.id], layout) for arm in shown),
            css="verdicts cards",
            note=f"The table holds the best {MAX_ARMS} arms; {left_out} more are in summary.json."
            if left_out
            else "",
        ),
    )


def _direction(mode: Literal["min", "max"]) -> str:
    return "higher is better" if mode == "max" else "lower is better"


def _headline(arms: Sequence[Arm], mode: Literal["min", "max"]) -> str:
    compared = [arm for arm in arms if arm.comparison is not None]
    if not compared:
        return "No arm has a control to be compared with."
    counts = Counter(arm.comparison.verdict for arm in compared if arm.comparison is not None)
    said = ", ".join(f"{counts[verdict]} {verdict}" for verdict in _SHAPES)
    text = f"{len(compared)} arm{'s'[: len(compared) > 1]} against the control: {said}."
    best = max(compared, key=lambda arm: gain(arm, mode))
    if best.comparison is None or best.comparison.verdict != "better":
        return text
    difference = best.comparison.mean
    decimals = decimals_for([difference])
    return f"{text} Largest gain: {best.label}, {fixed_signed(difference, decimals)}."


@dataclass(frozen=True, kw_only=True, slots=True)
class _Layout:
    """What the rows share."""

    mean_decimals: int
    decimals: int
    reach: float


def _bar(comparison: Comparison | None, mode: Literal["min", "max"]) -> Bar | None:
    """Return the interval with better to the right."""
    if comparison is None or comparison.mean is None:
        return None
    bar = Bar(mean=comparison.mean, low=comparison.low, high=comparison.high)
    return facing(bar, mode)


def _row(arm: Arm, bar: Bar | None, layout: _Layout) -> Row:
    own = texts(
        fixed(arm.mean, layout.mean_decimals),
        fixed(arm.standard_deviation, layout.mean_decimals),
        "" if arm.comparison is None else _pairs(arm.comparison),
        f"{arm.num_done}/{arm.num_trials}",
    )
    if arm.comparison is None:
        word = "control" if arm.is_control else "no control"
        compared = (Cell(text=word, css="verdict none"), *texts("", "", ""))
    else:
        compared = _compared(arm.comparison, bar, layout)
    css = "control" if arm.is_control else ""
    return Row(id=arm_id(arm.id), head=arm.label, cells=(*compared, *own), css=css)


def arm_id(arm: str) -> str:
    """Return where in the page the row of an arm is."""
    return f"arm-{arm}"


def _pairs(comparison: Comparison) -> str:
    return f"{comparison.num_pairs}/{comparison.num_planned}"


def _compared(comparison: Comparison, bar: Bar | None, layout: _Layout) -> tuple[Cell, ...]:
    drawn = (
        Markup("")
        if bar is None
        else bars.draw(bar, reach=layout.reach, verdict=comparison.verdict)
    )
    return (
        Cell(
            text=Markup('<span aria-hidden="true">{}</span> {}').format(
                _SHAPES[comparison.verdict], comparison.verdict
            ),
            note=comparison.reason,
            css=f"verdict {comparison.verdict}",
        ),
        Cell(text=drawn, css="plot"),
        Cell(text=fixed_signed(comparison.mean, layout.decimals)),
        Cell(text=between(comparison.low, comparison.high, layout.decimals)),
    )
