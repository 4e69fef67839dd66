"""Examples of files and Hub data sets, read as a stream."""

import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from raykd.config.schema.prepare import ColumnOptions, LabelType, PrepareOptions
from raykd.data.prepare.columns import TableColumns
from raykd.data.prepare.raw_rows import RawRows
from raykd.data.prepare.readers.delimited import read_delimited
from raykd.data.prepare.readers.documents import read_documents
from raykd.data.prepare.readers.json_rows import read_json
from raykd.data.prepare.readers.records import Records
from raykd.data.prepare.readers.tables import read_arrow, read_parquet
from raykd.data.prepare.sources import SourceFile, ending
from raykd.errors import DataError

_READING_ERRORS = (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error, pa.ArrowException)
"""How parsers and decompressors refuse a file."""


def read_rows(file: SourceFile, options: PrepareOptions) -> Iterator[RawRows]:
    """Yield the rows of one file in their order.

    Raises:
        DataError: The file cannot be read or parsed, or lacks a column; the message names it.
    """
    if file.format is not None and not file.bytes:
        return
    columns = ColumnOptions() if file.format == "text" else options.columns
    with _explained(file):
        for records in _records(file, columns, options):
            yield _raw_rows(records, columns, file=file, label_type=options.label_type)


def _records(
    file: SourceFile, columns: ColumnOptions, options: PrepareOptions
) -> Iterator[Records]:
    sources, names = options.sources, list(dict.fromkeys(columns.named()))
    match file.format:
        case "text":
            return read_documents(file.uri, sources)
        case "json":
            return read_json(file.uri, columns)
        case "csv":
            return read_delimited(file.uri, ending(file.uri), columns, sources)
        case "parquet":
            return read_parquet(file.uri, names)
        case "arrow":
            return read_arrow(file.uri, names)
        case None:
            # Imported here: takes a second, and a folder for its cache.
            from raykd.data.prepare.readers.hub import read_hub  # noqa: PLC0415

            return read_hub(file.uri, sources.hub_config, file.hub_split, names)


def _raw_rows(
    records: Records, columns: ColumnOptions, *, file: SourceFile, label_type: LabelType
) -> RawRows:
    table = TableColumns(records.table, features=records.features)
    labels = table.strings if label_type == "class" else table.numbers
    words = table.words(columns.words) if columns.words else None
    texts = (
        table.texts(columns.text)
        if words is None
        else [None if row is None else " ".join(row) for row in words]
    )
    return RawRows(
        split=file.split,
        uri=file.uri,
        unit=records.unit,
        numbers=records.numbers,
        faults=records.faults,
        texts=texts,
        pairs=table.texts(columns.text_pair) if columns.text_pair else None,
        words=words,
        labels=labels(columns.label) if columns.label else None,
        word_labels=table.lists(columns.word_labels) if columns.word_labels else None,
        languages=table.strings(columns.language) if columns.language else None,
        class_names=table.class_names(columns.label or columns.word_labels or ""),
        trimmed=frozenset(table.trimmed),
    )


@contextmanager
def _explained(file: SourceFile) -> Iterator[None]:
    """Name the file in whatever a reader complains of."""
    try:
        yield
    except _READING_ERRORS as error:
        reason = " ".join(str(error).split())
        message = (
            f"{file.uri}: is no file here, and cannot be read as a Hub data set: {reason}"
            if file.format is None
            else f"{file.uri}: cannot be read as {file.format}: {reason}; mend the file, or give "
            "another"
        )
        raise DataError(message) from error
