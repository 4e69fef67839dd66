"""Tables of a study: scores of probes, arms over all tasks, and values that were tuned."""

from collections.abc import Mapping, Sequence

from raykd.report.aggregates import Aggregate
from raykd.report.html.tables import (
    Cell,
    Column,
    Row,
    Table,
    coloured,
    decimals_for,
    fixed,
    fixed_signed,
    largest_size,
    texts,
)
from raykd.report.probes import ProbeCell, ProbeScores, column_title
from raykd.report.tuning import Tuning, edge_words, outcome
from raykd.report.units import UNKNOWN
from raykd.stats.aggregates import Estimate

MAX_PROBED = 300
MAX_AGGREGATED = 300
MAX_TRIED = 600

_MAX_TASKS = 8
_PROBABILITY_DECIMALS = 2


def probe_table(probes: ProbeScores) -> Table:
    """Return the scores of stages, controls and arms by probe."""
    rows = probes.rows[:MAX_PROBED]
    # By column: a scale of colours that correlation and accuracy share would say nothing.
    layouts = [_layout([row.cells[index] for row in rows]) for index in range(len(probes.columns))]
    left_out = len(probes.rows) - len(rows)
    return Table(
        caption="Scores of probes; more is better",
        columns=(
            Column(text="Model", is_number=False),
            *(Column(text=column_title(column)) for column in probes.columns),
        ),
        rows=tuple(
            Row(
                head=row.label,
                cells=tuple(
                    _score(cell, *layout) for cell, layout in zip(row.cells, layouts, strict=True)
                ),
            )
            for row in rows
        ),
        css="heat",
        note=f"The table holds {MAX_PROBED} models; {left_out} more are in summary.json."
        if left_out
        else "",
    )


def aggregate_table(aggregates: Sequence[Aggregate], names: Mapping[str, str]) -> Table:
    """Return each arm over all tasks.

    Args:
        aggregates: One for each arm, of the same tasks.
        names: Arm to its label.
    """
    shown = aggregates[:MAX_AGGREGATED]
    decimals = decimals_for(a.interquartile_mean.value for a in shown)
    left_out = len(aggregates) - len(shown)
    tasks = aggregates[0].tasks
    more = f" and {len(tasks) - _MAX_TASKS} more" if len(tasks) > _MAX_TASKS else ""
    return Table(
        caption=f"Arms over {len(tasks)} tasks: {', '.join(tasks[:_MAX_TASKS])}{more}",
        columns=(
            Column(text="Arm", is_number=False),
            Column(text="Interquartile mean"),
            Column(text="Probability of improvement"),
            Column(text="Seeds"),
        ),
        rows=tuple(
            Row(
                head=names[a.arm],
                cells=(
                    _estimated(a.interquartile_mean, decimals),
                    _estimated(a.improvement, _PROBABILITY_DECIMALS),
                    *texts(str(a.num_seeds)),
                ),
            )
            for a in shown
        ),
        css="cards",
        note=f"The first {MAX_AGGREGATED} arms; {left_out} more are in summary.json."
        if left_out
        else "",
    )


def tuning_table(tuning: Tuning) -> Table:
    """Return every value that was tried, for each group of arms."""
    tried = [(group, value) for group in tuning.groups for value in group.choice.tried]
    shown = tried[:MAX_TRIED]
    decimals = decimals_for(value.mean for _, value in shown)
    better = "lower" if tuning.mode == "min" else "higher"
    rows = []
    for group, value in shown:
        what = outcome(group.choice, value)
        note = edge_words(group.choice) if what == "chosen" else ""
        mean, spread = fixed(value.mean, decimals), fixed(value.standard_deviation, decimals)
        cells = (
            *texts(tuning.text(value.tuned), str(value.num_runs), mean, spread),
            Cell(text=what, note=note, css="error" if value.num_failed else "verdict"),
        )
        rows.append(Row(head=group.label, cells=cells))
    return Table(
        caption=f"{tuning.metric} ({better} is better) at the end of tuning runs",
        columns=(
            Column(text="Arms", is_number=False),
            Column(text="Values", is_number=False),
            Column(text="Runs"),
            Column(text="Mean"),
            Column(text="SD"),
            Column(text="Outcome", is_number=False),
        ),
        rows=tuple(rows),
        css="cards",
        note=f"The first {len(shown)} of {len(tried)} values; all are in summary.json."
        if len(shown) < len(tried)
        else "",
    )


def _estimated(estimate: Estimate | None, decimals: int) -> Cell:
    if estimate is None:
        return Cell(text="")
    low, high = fixed(estimate.low, decimals), fixed(estimate.high, decimals)
    return Cell(text=fixed(estimate.value, decimals), note=f"{low} to {high}")


def _layout(cells: list[ProbeCell | None]) -> tuple[int, float]:
    """Return the decimals of a column, and its largest difference."""
    known = [cell for cell in cells if cell is not None]
    differences = [cell.difference for cell in known]
    # At least the digits of the differences: else two means that differ would look equal.
    decimals = max(decimals_for(differences), decimals_for(cell.mean for cell in known))
    return decimals, largest_size(differences)


def _score(cell: ProbeCell | None, decimals: int, largest: float) -> Cell:
    if cell is None:
        return Cell(text=UNKNOWN, css="empty")
    spread = (
        "" if cell.standard_deviation is None else f" ± {cell.standard_deviation:.{decimals}f}"
    )
    return coloured(
        cell.difference,
        text=fixed(cell.mean, decimals) + spread,
        note="" if cell.difference is None else fixed_signed(cell.difference, decimals),
        largest=largest,
        is_better=cell.difference is not None and cell.difference > 0,
    )
