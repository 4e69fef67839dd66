"""Rows as a file has them, before they are looked at as examples."""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import pyarrow as pa

from raykd.config.schema.prepare import ColumnOptions
from raykd.errors import DataError

ROWS_PER_READ = 256

_SHOWN_NAMES = 40
_SHOWN_CHARACTERS = 60

TEXT = pa.large_string()


@dataclass(frozen=True, kw_only=True, slots=True)
class Records:
    """Consecutive rows of a file."""

    table: pa.Table
    """The columns that were asked for; all null in a row that cannot be read."""

    unit: str
    """What the numbers count: ``line`` or ``row``."""

    numbers: Sequence[int]
    """Where each row is in the file, counted from 1."""

    faults: Mapping[int, str] = field(default_factory=dict)
    """Index of each row that cannot be read, and why."""

    features: Mapping[str, object] = field(default_factory=dict)
    """What ``datasets`` knows of the columns, such as the names of classes."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a row cannot be read; the same words for all rows of which the same is true."""

    reason: str


Row = tuple[int, Sequence[object] | Fault]
"""Line of a row, and the values of its columns."""


def text_schema(columns: ColumnOptions) -> pa.Schema:
    """Return the types of columns in a format that has none: texts, or lists of texts."""
    lists = (columns.words, columns.word_labels)
    names = dict.fromkeys(columns.named())
    return pa.schema([(name, pa.list_(TEXT) if name in lists else TEXT) for name in names])


def batched(rows: Iterable[Row], schema: pa.Schema) -> Iterator[Records]:
    """Group rows into tables; halves of surrogate pairs become U+FFFD, as wrong bytes do."""
    nothing = (None,) * len(schema)
    rows = iter(rows)
    while some := list(islice(rows, ROWS_PER_READ)):
        faults = {
            index: row.reason for index, (_, row) in enumerate(some) if isinstance(row, Fault)
        }
        values = [nothing if isinstance(row, Fault) else row for _, row in some]
        arrays = [
            _array(list(column), kind)
            for column, kind in zip(zip(*values, strict=True), schema.types, strict=True)
        ]
        yield Records(
            table=pa.Table.from_arrays(arrays, schema=schema),
            unit="line",
            numbers=[line for line, _ in some],
            faults=faults,
        )


def require_columns(
    uri: str, columns: Iterable[str], *, present: Sequence[str], advice: str = ""
) -> None:
    """Check that a file has each column, once.

    Args:
        uri: The file.
        columns: Those that it must have.
        present: Those that it has.
        advice: What else may be wrong where it lacks one.

    Raises:
        DataError: One is missing, or there twice; the message names what there is.
    """
    for name in columns:
        if name not in present:
            close = difflib.get_close_matches(name, present, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            shown = ", ".join(one[:_SHOWN_CHARACTERS] for one in present[:_SHOWN_NAMES])
            message = f"{uri}: has no column {name!r}, it has {shown}{hint}{advice}"
            raise DataError(message)
        if present.count(name) > 1:
            message = f"{uri}: has {present.count(name)} columns {name!r}; rename all but one"
            raise DataError(message)


def _array(values: list[object], kind: pa.DataType) -> pa.Array:
    try:
        return pa.array(values, kind)
    except UnicodeEncodeError:
        # Half a surrogate pair, such as JSON's \ud800, has no UTF-8.
        return pa.array([_encodable(value) for value in values], kind)


def _encodable(value: object) -> object:
    if isinstance(value, list):
        return [_encodable(one) for one in value]
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return value
