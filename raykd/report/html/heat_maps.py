"""Heat maps: tables of differences to the control, coloured by size and direction.

A table is its own text alternative. Colour repeats the sign, and says nothing of certainty.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

from raykd.report.arms import Arm
from raykd.report.grids import Cell as GridCell
from raykd.report.grids import Grid
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
)
from raykd.report.languages import LanguageCell, LanguageRow, Languages
from raykd.report.units import UNKNOWN

MAX_LANGUAGE_ROWS = 60

Mode = Literal["min", "max"]


def heat_map(grid: Grid, *, metric: str, mode: Mode) -> Table:
    """Return one grid."""
    differences = [cell.difference for row in grid.cells for cell in row if cell is not None]
    # One scale of colours for the full grid, symmetric around 0: equal colours are equal gains.
    decimals, largest = decimals_for(differences), largest_size(differences)

    def drawn(cell: GridCell | None) -> Cell:
        return _grid_cell(cell, decimals=decimals, largest=largest, mode=mode)

    return Table(
        caption=f"{metric}, mean difference to the control: {grid.row_name} by {grid.column_name}",
        columns=(
            Column(text=grid.row_name, is_number=False),
            *(Column(text=column) for column in grid.columns),
        ),
        rows=tuple(
            Row(head=name, cells=tuple(drawn(cell) for cell in cells))
            for name, cells in zip(grid.rows, grid.cells, strict=True)
        ),
        css="heat",
        over_columns=grid.column_name,
    )


def language_table(
    languages: Languages, arms: Sequence[Arm], *, mode: Mode, names: dict[str, str]
) -> Table:
    """Return the metric of each arm in each language.

    Args:
        languages: The metric by language.
        arms: In the order of the rows.
        mode: Whether less or more is better.
        names: Arm to its label.
    """
    rows = {row.arm: row for row in languages.rows}
    # Languages are many: an arm that has a value in none would be a row of dashes.
    shown = [rows[arm.id] for arm in arms if arm.id in rows and any(rows[arm.id].cells)]
    left_out, shown = len(shown[MAX_LANGUAGE_ROWS:]), shown[:MAX_LANGUAGE_ROWS]
    cells = [cell for row in shown for cell in row.cells if cell is not None]
    largest = largest_size([cell.difference for cell in cells])
    layout = (
        decimals_for(cell.mean for cell in cells),
        decimals_for(cell.difference for cell in cells),
    )
    return Table(
        caption=f"{languages.metric} by language, below it the difference to the control",
        columns=(
            Column(text="Arm", is_number=False),
            *(Column(text=name) for name in languages.names),
        ),
        rows=tuple(
            Row(head=names[row.arm], cells=tuple(_language_cells(row, layout, largest, mode)))
            for row in shown
        ),
        css="heat",
        note=f"The table holds {MAX_LANGUAGE_ROWS} arms, best first; {left_out} more are in "
        "summary.json."
        if left_out
        else "",
    )


def _grid_cell(cell: GridCell | None, *, decimals: int, largest: float, mode: Mode) -> Cell:
    if cell is None:
        return Cell(text=UNKNOWN, css="empty")
    pairs = f"{cell.num_pairs} pair{'s'[: cell.num_pairs > 1]}"
    return coloured(
        cell.difference,
        text=fixed_signed(cell.difference, decimals),
        note=f"{pairs}, {cell.num_arms} arms" if cell.num_arms > 1 else pairs,
        largest=largest,
        is_better=(cell.difference > 0) == (mode == "max"),
    )


def _language_cells(
    row: LanguageRow, layout: tuple[int, int], largest: float, mode: Mode
) -> Iterable[Cell]:
    return (_language_cell(cell, layout, largest, mode) for cell in row.cells)


def _language_cell(
    cell: LanguageCell | None, layout: tuple[int, int], largest: float, mode: Mode
) -> Cell:
    if cell is None:
        return Cell(text=UNKNOWN, css="empty")
    difference = cell.difference
    return coloured(
        difference,
        text=fixed(cell.mean, layout[0]),
        note="" if difference is None else fixed_signed(difference, layout[1]),
        largest=largest,
        is_better=difference is not None and (difference > 0) == (mode == "max"),
    )
