"""Rows of files and Hub data sets, read as a stream through ``datasets``."""

import csv
import difflib
import glob
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import datasets
import pyarrow as pa
from datasets.exceptions import DatasetsError

from raykd.config.schema.prepare import ColumnOptions, PrepareOptions
from raykd.data.prepare.columns import TableColumns
from raykd.data.prepare.places import csv_header, malformed_line
from raykd.data.prepare.raw_rows import RawRows
from raykd.data.prepare.sources import SourceFile, ending
from raykd.errors import DataError

_ROWS_PER_READ = 256
_READING_ERRORS = (
    OSError,
    EOFError,
    ValueError,
    RecursionError,
    csv.Error,
    lzma.LZMAError,
    zlib.error,
    pa.ArrowException,
    DatasetsError,
)
"""How parsers and decompressors refuse a file."""


def read_rows(file: SourceFile, options: PrepareOptions) -> Iterator[RawRows]:
    """Yield the rows of one file in their order.

    Raises:
        DataError: The file cannot be read or parsed, or lacks a column; the message names it.
    """
    if file.format is not None and not file.bytes:
        return
    columns = options.columns
    if file.format == "text":
        columns = ColumnOptions()
    unit = options.sources.document if file.format == "text" else "row"
    first = 1
    with _explained(file):
        data_set = _open(file, options)
        for table in data_set.with_format("arrow").iter(batch_size=_ROWS_PER_READ):
            _check_columns(file.uri, columns, found=table.column_names)
            found = TableColumns(table, features=data_set.features or {})
            rows = _raw_rows(found, columns, file=file)
            yield replace(rows, unit=unit, first=first)
            first += table.num_rows


def _open(file: SourceFile, options: PrepareOptions) -> Any:
    """Open one file or Hub data set as a streaming data set."""
    if file.format is None:
        config = options.sources.hub_config
        return datasets.load_dataset(file.uri, config, split=file.hub_split, streaming=True)
    arguments: dict[str, Any] = {}
    if file.format == "text":
        sample_by = options.sources.document.replace("file", "document")
        arguments = {"encoding_errors": "replace", "sample_by": sample_by}
    elif file.format == "json":
        # datasets decodes with encoding_errors only where the encoding is not spelled "utf-8".
        arguments = {"encoding": "utf8", "encoding_errors": "replace"}
    elif file.format == "csv":
        # All columns as strings: "NA" is a text, and 007 is not 7.
        delimiter = "\t" if ending(file.uri) == ".tsv" else ","
        arguments = {
            "encoding_errors": "replace",
            "keep_default_na": False,
            "sep": delimiter,
            "features": _strings(csv_header(file.uri, delimiter=delimiter)),
        }
    return datasets.load_dataset(
        file.format,
        data_files=glob.escape(file.uri),
        split="train",
        streaming=True,
        **arguments,
    )


def _strings(names: list[str]) -> datasets.Features:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        message = f"the header names the column {twice[0]!r} twice"
        raise ValueError(message)
    return datasets.Features({name: datasets.Value("string") for name in names})


def _check_columns(uri: str, columns: ColumnOptions, *, found: list[str]) -> None:
    for name in columns.named():
        if name not in found:
            close = difflib.get_close_matches(name, found, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            message = f"{uri}: has no column {name!r}, it has {', '.join(found)}{hint}"
            raise DataError(message)


def _raw_rows(table: TableColumns, columns: ColumnOptions, *, file: SourceFile) -> RawRows:
    words = table.words(columns.words) if columns.words else None
    texts = (
        table.texts(columns.text)
        if words is None
        else [None if row is None else " ".join(row) for row in words]
    )
    return RawRows(
        split=file.split,
        uri=file.uri,
        unit="row",
        first=1,
        texts=texts,
        pairs=table.texts(columns.text_pair) if columns.text_pair else None,
        words=words,
        labels=table.strings(columns.label) if columns.label else None,
        word_labels=table.lists(columns.word_labels) if columns.word_labels else None,
        languages=table.strings(columns.language) if columns.language else None,
    )


@contextmanager
def _explained(file: SourceFile) -> Iterator[None]:
    """Name the file, and the line where that can be found, in whatever a reader complains of."""
    try:
        yield
    except _READING_ERRORS as error:
        reason = " ".join(str(error).split())
        message = (
            f"{file.uri}: cannot be read as {file.format}: {reason}; mend the file, or give "
            "another"
        )
        if file.format is None:
            message = (
                f"{file.uri}: is no file here, and cannot be read as a Hub data set: {reason}"
            )
        elif file.format == "json" and (malformed := malformed_line(file.uri)):
            message = malformed
        raise DataError(message) from error
