"""Columns of a table as Python strings, whatever their Arrow type."""

from typing import Any

import pyarrow as pa


class TableColumns:
    """A piece of a data set whose columns are asked for as Python strings."""

    def __init__(self, table: pa.Table, *, features: Any) -> None:
        self._table = table
        self._features = features

    def strings(self, name: str) -> list[str | None]:
        """Return a column of labels or languages: class names instead of class ids."""
        names = getattr(self._features.get(name), "names", None)
        return [_label(value, names) for value in self._table[name].to_pylist()]

    def lists(self, name: str) -> list[list[str | None] | None]:
        """Return a column of lists of labels."""
        inner = getattr(self._features.get(name), "feature", None)
        names = getattr(inner, "names", None)
        rows = self._sequences(name)
        return [None if row is None else [_label(value, names) for value in row] for row in rows]

    def words(self, name: str) -> list[list[str] | None]:
        """Return a column of lists of words."""
        rows = self._sequences(name)
        return [
            None if row is None or None in row else [str(word) for word in row] for row in rows
        ]

    def texts(self, name: str) -> list[str | None]:
        """Return a column of text; bytes that are no UTF-8 become U+FFFD."""
        column = self._table[name]
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if not _is_text(column.type):
            message = f"column {name!r} holds {column.type}, not text"
            raise ValueError(message)
        binary = column.cast(pa.large_binary()).to_pylist()
        return [None if value is None else value.decode("utf-8", "replace") for value in binary]

    def _sequences(self, name: str) -> list[list[Any] | None]:
        column = self._table[name]
        if not (pa.types.is_list(column.type) or pa.types.is_large_list(column.type)):
            message = f"column {name!r} holds {column.type}, not lists of words or labels"
            raise ValueError(message)
        rows: list[list[Any] | None] = column.to_pylist()
        return rows


def _is_text(kind: pa.DataType) -> bool:
    return any(
        is_kind(kind)
        for is_kind in (
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_string_view,
            pa.types.is_binary,
            pa.types.is_null,
        )
    )


def _label(value: Any, names: list[str] | None) -> str | None:
    if value is None or value == "":
        return None
    if names is None:
        return str(value)
    return names[value] if 0 <= value < len(names) else None
