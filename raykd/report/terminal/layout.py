"""How text is laid out: titled tables, and reasons that several have in common."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Literal

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

WIDTH = 100
"""Columns that a report is readable in."""


def table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str | Text]],
    *,
    words: Collection[str] = (),
) -> list[RenderableType]:
    """Return a title and a table; texts are shown as they are, brackets too.

    Args:
        title: Stands above it.
        columns: Their names.
        rows: A cell for each column.
        words: Columns of words beside the first; all others are numbers, and end in one line.
    """
    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for index, column in enumerate(columns):
        is_text = index == 0 or column in words
        drawn.add_column(Text(column), justify="left" if is_text else "right", overflow="fold")
    for row in rows:
        drawn.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    return [Text(title, style="bold"), drawn]


def metric_text(metric: str, mode: Literal["min", "max"]) -> str:
    """Return a metric, and whether less or more of it is better."""
    return f"{metric} ({'less' if mode == 'min' else 'more'} is better)"


def by_reason(told: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield a line for each reason: whose it is, or how many have it."""
    together: dict[str, list[str]] = {}
    for reason, label in told:
        together.setdefault(reason, []).append(label)
    for reason, labels in together.items():
        who = labels[0] if len(labels) == 1 else f"{len(labels)} arms"
        yield f"{who}: {reason}"
