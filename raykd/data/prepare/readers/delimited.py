"""CSV and its kin, every value a text, in a dialect that is stated and never guessed.

A *record* is a line, or several where a quoted field holds ends of lines. One that breaks the
rules of its dialect is a fault of its first line, and reading goes on with the next line: an open
quotation mark costs one row, not all that follow.
"""

import csv
import sys
from collections import deque
from collections.abc import Iterator
from typing import IO

from raykd.config.schema.prepare import ColumnOptions, SourceOptions
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

_LONGEST_RECORD = 1 << 24
"""Characters of a record of several lines; a single line may be longer."""


def read_delimited(
    uri: str, ending: str, columns: ColumnOptions, sources: SourceOptions
) -> Iterator[Records]:
    """Yield the rows of a file whose first record names the columns.

    Args:
        uri: The file.
        ending: Of its name; decides what is not stated of the dialect.
        columns: Those to read; others may hold anything.
        sources: States the dialect.

    Raises:
        DataError: A column is missing, or there twice, or the header cannot be read.
        ValueError: Lists are asked for.
    """
    if columns.words is not None:
        message = f"column {columns.words!r} holds text, not lists of words; give JSON or Parquet"
        raise ValueError(message)
    is_tsv = ending == ".tsv"
    # TSV as registered with IANA knows no quotation marks.
    quotes = sources.quoting == "minimal" if sources.quoting else not is_tsv
    # Else fields of more than 128 KB are refused.
    csv.field_size_limit(sys.maxsize)
    with text_stream(uri, newline="") as stream:
        lines = _Lines(stream)
        reader = csv.reader(
            lines,
            delimiter=sources.delimiter or ("\t" if is_tsv else ","),
            quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
            strict=True,
        )
        yield from batched(_rows(uri, lines, reader, columns), text_schema(columns))


def _rows(
    uri: str, lines: "_Lines", reader: Iterator[list[str]], columns: ColumnOptions
) -> Iterator[Row]:
    records = _records(lines, reader)
    if (first := next(records, None)) is None:
        return
    line, header = first
    if isinstance(header, Fault):
        message = f"{uri}: line {line}, which names the columns: {header.reason}"
        raise DataError(message)
    advice = "; --delimiter and --quoting say how the file is to be read"
    require_columns(uri, columns.named(), present=header, advice=advice)
    places = [header.index(name) for name in dict.fromkeys(columns.named())]
    for line, record in records:
        if isinstance(record, Fault):
            yield line, record
        elif len(record) != len(header):
            yield line, Fault(f"{len(record)} fields, not {len(header)} as in the first line")
            lines.give_back()
        else:
            yield line, [record[place] for place in places]


def _records(
    lines: "_Lines", reader: Iterator[list[str]]
) -> Iterator[tuple[int, list[str] | Fault]]:
    """Yield each record, or what is wrong with it, and the line where it begins."""
    while True:
        lines.begin_record()
        try:
            record = next(reader, None)
        except csv.Error as error:
            yield lines.first, Fault(f"no CSV record: {error}")
            lines.give_back()
            continue
        if record is None:
            return
        if record:
            yield lines.first, record


class _Lines:
    """Lines of a file, those of the record that is being read kept until the next begins."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._again: deque[str] = deque()
        self._record: list[str] = []
        self._size = 0
        self.first = 1
        """Number of the first line of the record."""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        # A quotation mark that nothing closes: the reader refuses a record that ends within one,
        # and its lines but the first are read again.
        if self._record and self._size > _LONGEST_RECORD:
            raise StopIteration
        line = self._again.popleft() if self._again else self._stream.readline()
        if not line:
            raise StopIteration
        self._record.append(line)
        self._size += len(line)
        return line

    def begin_record(self) -> None:
        """Let the lines of the last record go."""
        self.first += len(self._record)
        self._record = []
        self._size = 0

    def give_back(self) -> None:
        """Have all lines of the record but its first read again."""
        self._again.extendleft(reversed(self._record[1:]))
        del self._record[1:]
