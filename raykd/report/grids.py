"""Heat maps of the difference to the control over two coordinates."""

import itertools
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from raykd.report.pairing import Pairing

TEACHER = "teacher"
QUALITY = "quality"

_MAX_VALUES = 16
"""Values of one coordinate: more are draws of a distribution, of which no two share a cell."""

_MAX_GRIDS = 6

_OTHER = 3
"""Rank of a coordinate that is neither the teacher, nor the initialisation, nor a weight."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """The arms with one pair of values."""

    difference: float
    """To the control: mean over all pairs of trials, whatever their other coordinates."""

    num_pairs: int
    num_arms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """The difference to the control over two coordinates."""

    row_name: str
    column_name: str
    rows: tuple[str, ...]
    """Values, in short."""

    columns: tuple[str, ...]
    cells: tuple[tuple[Cell | None, ...], ...]
    """By row, then column; None where no pair of trials is done."""


def grids_of(pairing: Pairing) -> tuple[Grid, ...]:
    """Return the heat maps worth a look: of teacher, weights and initialisation, two by two.

    Where fewer than two of these vary, other coordinates take their place.
    """
    axes = {
        key: values
        for key, values in axis_values(pairing).items()
        if 2 <= len(set(values.values())) <= _MAX_VALUES  # noqa: PLR2004  it varies
    }
    first = sorted((key for key in axes if _rank(key) < _OTHER), key=_rank)
    others = [key for key in axes if key not in first]
    chosen = first + others[: max(0, 2 - len(first))]
    pairs = sorted(itertools.combinations(chosen, 2), key=lambda pair: not is_weight(pair[1]))
    return tuple(_grid(pairing, row, column, axes) for row, column in pairs[:_MAX_GRIDS])


def axis_values(pairing: Pairing) -> dict[str, dict[str, str]]:
    """Return, per coordinate, the value in short of each arm that has one and a control.

    A teacher's qualities, where it has several, are part of the coordinate teacher.
    """
    axes: dict[str, dict[str, str]] = {}
    for arm in pairing.pairs:
        for key, text in pairing.coordinates.texts[arm].items():
            axes.setdefault(key, {})[arm] = text
    # Quality 0.5 of one teacher and of another are no common value, so it is no axis of its own.
    qualities = axes.pop(QUALITY, {})
    if len(set(qualities.values())) > 1:
        axes[TEACHER] = {
            arm: f"{text} {qualities[arm]}" if arm in qualities else text
            for arm, text in axes[TEACHER].items()
        }
    return axes


def is_weight(key: str) -> bool:
    """Tell whether a coordinate is the weight of a loss."""
    return key.rsplit(".", maxsplit=1)[-1] == "weight"


def _rank(key: str) -> int:
    if key == TEACHER:
        return 0
    if key == "student.init":
        return 1
    return 2 if is_weight(key) else _OTHER


def _grid(
    pairing: Pairing, row_key: str, column_key: str, axes: Mapping[str, Mapping[str, str]]
) -> Grid:
    row_of, column_of = axes[row_key], axes[column_key]
    rows, columns = _in_order(row_of), _in_order(column_of)
    return Grid(
        row_name=pairing.coordinates.names[row_key],
        column_name=pairing.coordinates.names[column_key],
        rows=rows,
        columns=columns,
        cells=tuple(
            tuple(
                _cell(
                    pairing,
                    [a for a in row_of if row_of[a] == row and column_of.get(a) == column],
                )
                for column in columns
            )
            for row in rows
        ),
    )


def _cell(pairing: Pairing, arms: list[str]) -> Cell | None:
    by_arm = [pairing.differences(arm, pairing.metric) for arm in arms]
    # The mean over pairs, not over arms: an arm with more seeds done has more say.
    differences = [value for by_seed in by_arm for value in by_seed.values()]
    if not differences:
        return None
    return Cell(
        difference=statistics.fmean(differences),
        num_pairs=len(differences),
        num_arms=sum(1 for by_seed in by_arm if by_seed),
    )


def _in_order(values: Mapping[str, str]) -> tuple[str, ...]:
    """Return distinct values: numbers by size, all else in the order of the plan."""
    distinct = list(dict.fromkeys(values.values()))
    try:
        return tuple(sorted(distinct, key=float))
    except ValueError:
        return tuple(distinct)
