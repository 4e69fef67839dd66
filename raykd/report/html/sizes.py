"""The table of a study's models: parameters, bytes, speed and latency."""

from raykd.report.efficiency.sizes import ModelRow, Sizes
from raykd.report.efficiency.words import milliseconds
from raykd.report.html.tables import Cell, Column, Row, Table
from raykd.report.units import UNKNOWN, amount, hours

MAX_MODELS = 100


def size_table(sizes: Sizes) -> Table:
    """Return one row for each architecture."""
    shown = sizes.rows[:MAX_MODELS]
    return Table(
        caption="Models by architecture; parameters that are tied count once",
        columns=(
            Column(text="Model", is_number=False),
            Column(text="Architecture", is_number=False),
            Column(text="Parameters"),
            Column(text="Of them embeddings"),
            Column(text="Bytes exported"),
            Column(text="Runs"),
            Column(text="Tokens/s of training"),
            Column(text="Core-hours"),
            Column(text="GPU-hours"),
            Column(text="Latency"),
        ),
        rows=tuple(_row(row) for row in shown),
        css="cards",
        note=""
        if len(shown) == len(sizes.rows)
        else f"The first {len(shown)} of {len(sizes.rows)} models; all are in summary.json.",
    )


def _row(row: ModelRow) -> Row:
    size = row.size
    heads = f"{size.num_heads} heads of {amount(size.head)}" if size.num_heads > 1 else ""
    return Row(
        head=row.name,
        cells=(
            Cell(text=size.architecture),
            Cell(text=amount(size.total), note=heads),
            Cell(text=amount(size.embeddings)),
            Cell(text=amount(row.num_bytes)),
            Cell(text=str(row.num_runs)),
            Cell(text=amount(row.tokens_per_second)),
            Cell(text=hours(row.core_seconds)),
            Cell(text=hours(row.gpu_seconds)),
            Cell(text=UNKNOWN if row.latency is None else milliseconds(row.latency.milliseconds)),
        ),
    )
