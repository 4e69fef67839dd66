"""Columns of a table as Python strings, whatever their Arrow type.

The class of a row or a word, and the language of a row, is a *name*. What a file holds is read as
one by these rules:

* Null, NaN, blank text, and -100 (which marks what is not scored) are no name.
* Text is taken as it is, without the blanks around it; bytes are UTF-8. So are the numbers of CSV
  and JSON, which are text: "007" and "1.0" stay.
* A whole number of a column of numbers is written without a fraction, for tables turn 1 into 1.0
  where another row has no label. Truth values are "false" and "true".
* A number of a ``ClassLabel`` is the name it stands for; -1, and any other that stands for
  none, is no name.
"""

import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

_BLANKS = r"[\s\ufeff\u200b]+"
"""White space, byte order marks, and spaces of no width."""

_AROUND = re.compile(rf"\A{_BLANKS}|{_BLANKS}\Z")
_UNSCORED = re.compile(r"-100(\.0+)?")


def as_name(text: str) -> str:
    """Return the name that text stands for; empty where it stands for none."""
    name = _AROUND.sub("", text)
    return "" if _UNSCORED.fullmatch(name) else name


class TableColumns:
    """A piece of a data set whose columns are asked for as Python strings."""

    def __init__(self, table: pa.Table, *, features: Mapping[str, object]) -> None:
        self._table = table
        self._features = features
        self.trimmed: set[int] = set()
        """Rows with blanks around a name, among the columns that were asked for."""

    def strings(self, name: str) -> list[str | None]:
        """Return a column of labels or languages as names; None where there is none."""
        class_names = self.class_names(name)
        values = _python_values(self._table[name])
        return [self._name(value, name, class_names, row) for row, value in enumerate(values)]

    def numbers(self, name: str) -> list[str | None]:
        """Return a column of numbers as they are written; None where there is none.

        The number of a ``ClassLabel`` is that in its name.
        """
        if self.class_names(name) is not None:
            return self.strings(name)
        written = (
            _decoded(value) if isinstance(value, bytes) else str("" if value is None else value)
            for value in _python_values(self._table[name])
        )
        return [_AROUND.sub("", text) or None for text in written]

    def lists(self, name: str) -> list[list[str | None] | None]:
        """Return a column of lists of labels as names; None where a word has none."""
        class_names = self.class_names(name)
        return [
            None if values is None else [self._name(v, name, class_names, row) for v in values]
            for row, values in enumerate(self._sequences(name))
        ]

    def class_names(self, name: str) -> tuple[str, ...] | None:
        """Return the names of a ``ClassLabel``, or of a list of them, in the order of its numbers.

        Raises:
            ValueError: Some are no names, or the same name.
        """
        feature = self._features.get(name)
        names = getattr(getattr(feature, "feature", feature), "names", None)
        if names is None:
            return None
        class_names = tuple(map(as_name, names))
        if len({*class_names, ""}) <= len(class_names):
            message = f"column {name!r}: its class names {list(names)} are not all different names"
            raise ValueError(message)
        return class_names

    def words(self, name: str) -> list[list[str] | None]:
        """Return a column of lists of words; bytes that are no UTF-8 become U+FFFD."""
        rows = self._sequences(name)
        if not _is_text(_item_type(self._table[name].type)):
            message = f"column {name!r} holds {self._table[name].type}, not lists of words"
            raise ValueError(message)
        return [
            None if row is None or None in row else [_decoded(word) for word in row]
            for row in rows
        ]

    def texts(self, name: str) -> list[str | None]:
        """Return a column of text; bytes that are no UTF-8 become U+FFFD."""
        column = self._table[name]
        if not _is_text(column.type):
            message = f"column {name!r} holds {column.type}, not text"
            raise ValueError(message)
        return [None if value is None else _decoded(value) for value in _python_values(column)]

    def _name(
        self, value: Any, column: str, class_names: Sequence[str] | None, row: int
    ) -> str | None:
        if class_names is not None:
            is_known = value is not None and 0 <= value < len(class_names)
            return class_names[value] if is_known else None
        text = _as_text(value, column)
        name = as_name(text)
        if name and _AROUND.search(text):
            self.trimmed.add(row)
        return name or None

    def _sequences(self, name: str) -> list[list[Any] | None]:
        column = self._table[name]
        if not (pa.types.is_null(column.type) or _is_list(column.type)):
            message = f"column {name!r} holds {column.type}, not lists of words or labels"
            raise ValueError(message)
        return _python_values(column)


def _is_list(kind: pa.DataType) -> bool:
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_kind(kind) for is_kind in lists)


def _item_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if _is_list(kind) else kind


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    texts = (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_string_view,
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_binary_view,
        pa.types.is_null,
    )
    return any(is_kind(kind) for is_kind in texts)


def _python_values(column: pa.ChunkedArray) -> list[Any]:
    """Return the values of a column; text as bytes, for Arrow gives none that is not UTF-8."""
    kind = pa.large_binary() if _is_text(_item_type(column.type)) else None
    if kind is not None and _is_list(column.type):
        kind = pa.large_list(kind)
    values: list[Any] = (column if kind is None else column.cast(kind)).to_pylist()
    return values


def _decoded(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _as_text(value: object, column: str) -> str:
    match value:
        case None:
            return ""
        case bytes():
            return _decoded(value)
        # Before int, of which bool is a subclass.
        case bool():
            return str(value).lower()
        case int() | float() | Decimal():
            if not math.isfinite(value):
                return ""
            return str(int(value) if value == int(value) else value)
    message = f"column {column!r} holds {value!r}, which names no class or language"
    raise ValueError(message)
