"""JSON: an object a line, or one array of objects; texts are strings, and numbers stay as written.

Only the named columns are looked at. A row that is no JSON, or has a value of another type in one
of them, is a fault of that row. A key that a row lacks is null there.
"""

import io
import json
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import IO

from raykd.config.schema.prepare import ColumnOptions
from raykd.data.prepare.readers.records import (
    Fault,
    Records,
    Row,
    batched,
    require_columns,
    text_schema,
)
from raykd.data.prepare.readers.streams import text_stream
from raykd.errors import DataError

_READ_CHARACTERS = 1 << 20
"""Piece of an array that is read at a time."""

_LONGEST_ELEMENT = 1 << 28
"""Characters; what is longer is taken for an array that is broken."""

_BETWEEN = re.compile(r"[\s,]*")

Pairs = tuple[tuple[str, object], ...]
"""A JSON object; lists are arrays."""


class _Number(str):
    """A number as it is written."""

    __slots__ = ()


_DECODER = json.JSONDecoder(
    # As others do, take line breaks and tabs in strings that should have been escaped.
    strict=False,
    object_pairs_hook=tuple,
    # A label 1.0 is another than 1.
    parse_int=_Number,
    parse_float=_Number,
    parse_constant=lambda _: None,
)


def read_json(uri: str, columns: ColumnOptions) -> Iterator[Records]:
    """Yield the rows of a file.

    Raises:
        DataError: An array is broken, or a column is in no row.
    """
    with text_stream(uri) as stream:
        yield from batched(_rows(uri, _values(uri, stream), columns), text_schema(columns))


def _rows(uri: str, values: Iterable[tuple[int, object]], columns: ColumnOptions) -> Iterator[Row]:
    """Yield the columns of each value; at the end each must have been in some row."""
    converters = _converters(columns)
    unseen = set(converters)
    some_names: dict[str, None] = {}
    for line, value in values:
        if not isinstance(value, tuple):
            fault = value if isinstance(value, Fault) else Fault("JSON that is no object")
            yield line, fault
            continue
        row = dict(value)
        if unseen:
            unseen.difference_update(row)
            some_names = some_names or dict.fromkeys(row)
        yield line, _converted(row, value, converters)
    if unseen and some_names:
        require_columns(uri, sorted(unseen), present=list(some_names))


def _converted(
    row: dict[str, object], pairs: Pairs, converters: dict[str, Callable[[object], object]]
) -> list[object] | Fault:
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        if twice := [name for name in converters if names.count(name) > 1]:
            return Fault(f"JSON that has {twice[0]!r} twice")
    values = []
    for name, convert in converters.items():
        try:
            values.append(convert(row.get(name)))
        except TypeError as error:
            return Fault(f"column {name!r} holds {error}")
    return values


def _converters(columns: ColumnOptions) -> dict[str, Callable[[object], object]]:
    ways = {
        columns.text: _text,
        columns.text_pair: _text,
        columns.words: _words,
        columns.label: _name,
        columns.language: _name,
        columns.word_labels: _names,
    }
    return {name: ways[name] for name in columns.named()}


def _text(value: object) -> str | None:
    if value is None or type(value) is str:
        return value
    raise _unlike(value, "text")


def _name(value: object) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or isinstance(value, str):
        return value
    raise _unlike(value, "a label or a language")


def _words(value: object) -> list[str | None] | None:
    return None if value is None else [_text(one) for one in _listed(value)]


def _names(value: object) -> list[str | None] | None:
    return None if value is None else [_name(one) for one in _listed(value)]


def _listed(value: object) -> list[object]:
    if isinstance(value, list):
        return value
    raise _unlike(value, "a list of words or labels")


def _unlike(value: object, wanted: str) -> TypeError:
    kinds = {bool: "true or false", _Number: "a number", list: "a list", tuple: "an object"}
    return TypeError(f"{kinds.get(type(value), 'text')}, not {wanted}")


def _values(uri: str, stream: IO[str]) -> Iterator[tuple[int, object]]:
    """Yield each row with its line: an object, another value, or a fault."""
    beginning = stream.read(_READ_CHARACTERS)
    if beginning.lstrip().startswith("["):
        return _elements(uri, beginning, stream)
    return _lines(chain(io.StringIO(beginning + stream.readline()), stream))


def _lines(lines: Iterable[str]) -> Iterator[tuple[int, object]]:
    for number, line in enumerate(lines, start=1):
        if line.isspace():
            continue
        try:
            yield number, _DECODER.decode(line)
        except json.JSONDecodeError as error:
            yield number, Fault(f"no JSON: {error.msg}")
        except RecursionError:
            yield number, Fault("JSON that is nested too deeply")


def _elements(uri: str, text: str, stream: IO[str]) -> Iterator[tuple[int, object]]:
    """Yield the elements of one array, of which only a piece is in memory."""
    position = text.index("[") + 1
    line = 1 + text.count("\n", 0, position)
    while True:
        start = _BETWEEN.match(text, position).end()  # type: ignore[union-attr]  # matches ""
        line += text.count("\n", position, start)
        if text.startswith("]", start):
            return
        try:
            value, position = _DECODER.raw_decode(text, start)
        except json.JSONDecodeError as error:
            # It may be the piece that ends too soon. Twice as much each time: an element is
            # parsed anew, and must not take the square of its length.
            more = stream.read(max(_READ_CHARACTERS, len(text) - start))
            if not more or len(text) - start > _LONGEST_ELEMENT:
                message = f"{uri}: line {line}: what follows in the array is no JSON: {error.msg}"
                raise DataError(message) from error
            text, position = text[start:] + more, 0
        else:
            yield line, value
            line += text.count("\n", start, position)
