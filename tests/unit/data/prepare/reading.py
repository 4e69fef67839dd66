"""Read a file as ``raykd prepare`` does."""

from pathlib import Path
from typing import Any

from raykd.config.schema.prepare import ColumnOptions, PrepareOptions, SourceOptions
from raykd.data.prepare.raw_rows import RawRows
from raykd.data.prepare.reading import read_rows
from raykd.data.prepare.sources import expand

LABELLED = ColumnOptions(label="label")


def read(path: Path | str, columns: ColumnOptions | None = None, **sources: Any) -> list[RawRows]:
    """Return the rows of a source, as they come."""
    options = PrepareOptions(
        sources=SourceOptions(train=(str(path),), **sources),
        columns=columns or ColumnOptions(),
        output_uri="unused",
    )
    return [rows for file in expand(options.sources) for rows in read_rows(file, options)]


def texts(path: Path, **sources: Any) -> list[str | None]:
    """Return the texts of a source without labels."""
    return [text for rows in read(path, **sources) for text in rows.texts]


def labelled(path: Path, **sources: Any) -> list[tuple[str | None, str | None]]:
    """Return text and label of each row that can be read."""
    return [
        (text, label)
        for rows in read(path, LABELLED, **sources)
        for index, (text, label) in enumerate(zip(rows.texts, rows.labels or [], strict=True))
        if index not in rows.faults
    ]


def faults(path: Path, columns: ColumnOptions = LABELLED, **sources: Any) -> dict[int, str]:
    """Return the place of each row that cannot be read, and why."""
    return {
        rows.numbers[index]: reason
        for rows in read(path, columns, **sources)
        for index, reason in rows.faults.items()
    }
