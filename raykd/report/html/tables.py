"""Tables as the page's template draws them: text, alignment, colour."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from raykd.report.html.scales import MINUS, is_number
from raykd.report.units import UNKNOWN

_SIGNIFICANT_DIGITS = 3
_MAX_DECIMALS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """The head of a column."""

    text: str
    is_number: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One value."""

    text: str | Markup
    note: str = ""
    """A second, smaller line."""

    css: str = ""
    """Class: better, worse, empty, verdict, plot, error; none for text as it is."""

    share: float | None = None
    """How strong the colour is, 0..1; None for none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """What is known of one thing, which its head names."""

    head: str | Markup
    cells: tuple[Cell, ...]
    css: str = ""
    id: str = ""
    """What links lead to, unique in the page; empty where none does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table with a caption that says what it shows."""

    caption: str
    columns: tuple[Column, ...]
    """The first heads the rows' heads."""

    rows: tuple[Row, ...]
    css: str = ""
    """Classes: heat for a heat map, cards where rows are cards on a narrow screen."""

    over_columns: str = ""
    """What all columns but the first are values of."""

    note: str = ""
    """What is left out."""


def texts(*values: str | Markup) -> tuple[Cell, ...]:
    """Return cells of text as it is."""
    return tuple(Cell(text=value) for value in values)


def decimals_for(values: Iterable[float | None]) -> int:
    """Return how many decimals show three digits of a typical value, for all to line up."""
    sizes = [abs(v) for v in values if v is not None and is_number(v) and v != 0]
    if not sizes:
        return 0
    # The median: one diverged run must not take the digits of all others.
    typical = statistics.median(sizes)
    return max(0, min(_MAX_DECIMALS, _SIGNIFICANT_DIGITS - 1 - math.floor(math.log10(typical))))


def fixed(value: float | None, decimals: int) -> str:
    """Return a value with so many decimals; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    return f"{value:.{decimals}f}".replace("-", MINUS)


def fixed_signed(value: float | None, decimals: int) -> str:
    """Return a difference with its sign and so many decimals."""
    text = fixed(value, decimals)
    return f"+{text}" if value is not None and is_number(value) and value > 0 else text


def between(low: float | None, high: float | None, decimals: int) -> str:
    """Return the ends of an interval of differences; a dash where there is none."""
    if low is None or high is None:
        return UNKNOWN
    return f"{fixed_signed(low, decimals)} to {fixed_signed(high, decimals)}"


def coloured(
    value: float | None, *, text: str, note: str, largest: float, is_better: bool
) -> Cell:
    """Return a cell of a heat map.

    Args:
        value: Difference to the control; None where there is none.
        text: What the cell says of it.
        note: Below that.
        largest: Size of the value with the full colour.
        is_better: Which of the two colours.
    """
    if value is None or not is_number(value):
        return Cell(text=text, note=note, css="empty" if text == UNKNOWN else "")
    share = abs(value) / largest if largest > 0 else 0.0
    # The colour says which way, its strength how far; the text has the sign for whoever sees no
    # colour.
    css = "" if value == 0 else "better" if is_better else "worse"
    return Cell(text=text, note=note, css=css, share=round(share, 3))


def largest_size(values: Sequence[float | None]) -> float:
    """Return the largest size of a value; 0 without any."""
    return max((abs(v) for v in values if v is not None and is_number(v)), default=0.0)
