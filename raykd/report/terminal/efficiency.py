"""How large the models of a study are, and which arms are best for what they cost."""

from collections.abc import Iterable, Iterator

from rich.console import RenderableType

from raykd.report.efficiency.frontier import Frontier
from raykd.report.efficiency.sizes import ModelRow, Sizes
from raykd.report.efficiency.words import TITLES, cost_text, milliseconds
from raykd.report.terminal.layout import table
from raykd.report.units import UNKNOWN, amount, hours, number

_MAX_MODELS = 12
_MAX_BEST = 8


def efficiency_tables(
    sizes: Sizes, frontiers: Iterable[Frontier], *, metric: str
) -> Iterator[list[RenderableType]]:
    """Yield the tables of models, and of the arms on each frontier."""
    if sizes.rows:
        yield _models(sizes)
    for frontier in frontiers:
        yield _best(frontier, metric)


def _models(sizes: Sizes) -> list[RenderableType]:
    left_out = len(sizes.rows) - _MAX_MODELS
    more = f" ({left_out} more in the report)" if left_out > 0 else ""
    return table(
        f"models{more}" + (f"; latency of {sizes.latency}" if sizes.latency else ""),
        ["model", "parameters", "embeddings", "bytes", "tokens/s", "core-hours", "latency"],
        [_model(row) for row in sizes.rows[:_MAX_MODELS]],
    )


def _model(row: ModelRow) -> list[str]:
    return [
        f"{row.name} ({row.size.architecture})",
        amount(row.size.total),
        amount(row.size.embeddings),
        amount(row.num_bytes),
        amount(row.tokens_per_second),
        hours(row.core_seconds),
        UNKNOWN if row.latency is None else milliseconds(row.latency.milliseconds),
    ]


def _best(frontier: Frontier, metric: str) -> list[RenderableType]:
    best = frontier.best
    shown = f"the first {_MAX_BEST} of {len(best)}" if len(best) > _MAX_BEST else str(len(best))
    return table(
        f"Pareto frontier by {TITLES[frontier.cost]}: {shown} of {len(frontier.points)} arms",
        ["arm", metric, "cost"],
        [
            [point.label, number(point.mean), cost_text(frontier.cost, point.cost)]
            for point in best[:_MAX_BEST]
        ],
    )
