"""Tables of what a study has beside its trials: scores of probes, and values that were tuned."""

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

MAX_PROBED = 300
MAX_TRIED = 600


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
