"""The rows that a data set is prepared from, and how to tell whether they changed."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from raykd.config.schema.prepare import Demo, PrepareOptions
from raykd.data.prepare.raw_rows import RawRows
from raykd.data.prepare.readers.demo_corpora import demo_identity, demo_rows
from raykd.data.prepare.reading import read_rows
from raykd.data.prepare.sources import SourceFile, expand, modified
from raykd.data.prepare.splits import check_distinct

_UNIT_BYTES = 64 << 20
"""Of the files of a unit, at least: reading them takes longer than to start a reader."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """Files and Hub data sets, or the rows of a demo corpus."""

    files: tuple[SourceFile, ...]
    demo: Demo | None
    record: str
    """Hash of what is read, names and sizes: part of what identifies the data set."""

    def rows(self, options: PrepareOptions) -> Iterator[RawRows]:
        """Yield all rows, always in the same order."""
        if self.demo is not None:
            yield from demo_rows(self.demo)
        for file in self.files:
            yield from read_rows(file, options)

    def units(self) -> list["Inputs"]:
        """Cut the inputs into runs of files that can be read beside one another."""
        units: list[list[SourceFile]] = [[]]
        size = 0
        for file in self.files:
            if size >= _UNIT_BYTES:
                units.append([])
                size = 0
            units[-1].append(file)
            size += file.bytes
        return [replace(self, files=tuple(files)) for files in units]

    def changed_since(self, uri: str) -> bool:
        """Tell whether an input was modified after a file was written."""
        # Object stores keep whole seconds, cut off.
        written = modified(uri) + timedelta(seconds=1)
        return any(file.modified is not None and file.modified > written for file in self.files)

    def state(self) -> list[Any]:
        """Return what changes when any input changes; parts of other states are not reused."""
        return [self.record, *(str(file.modified) for file in self.files)]


def find_inputs(options: PrepareOptions) -> Inputs:
    """Find what the options name; only the names and sizes of files are looked at.

    Raises:
        ConfigError: A source is unclear.
        DataError: A source is not there.
    """
    if (demo := options.sources.demo) is not None:
        record = _hash([demo_identity(demo)])
        return Inputs(files=(), demo=demo, record=record)
    files = tuple(expand(options.sources))
    check_distinct(files)
    return Inputs(files=files, demo=None, record=_hash([(f.split, f.uri, f.bytes) for f in files]))


class ReadingMeter:
    """Estimates how far reading is from the text that came by."""

    def __init__(self, files: tuple[SourceFile, ...]) -> None:
        self._sizes = {file.uri: file.bytes for file in files}
        self._before = 0
        self._current: str | None = None
        self._of_current = 0

    def watched(self, rows: Iterator[RawRows]) -> Iterator[RawRows]:
        """Yield rows on, and count them."""
        for some in rows:
            if some.uri != self._current:
                self._before += self._sizes.get(self._current or "", 0)
                self._current, self._of_current = some.uri, 0
            self._of_current += some.size
            yield some

    def count(self, files: Iterable[SourceFile]) -> None:
        """Count files that others have read."""
        self._before += sum(file.bytes for file in files)

    @property
    def share(self) -> float | None:
        """Estimated fraction of the input's bytes that is read; None where sizes are unknown."""
        total = sum(self._sizes.values())
        size = self._sizes.get(self._current or "", 0)
        # A compressed file holds more text than it has bytes.
        return (self._before + min(self._of_current, size)) / total if total else None


def _hash(values: list[Any]) -> str:
    return hashlib.sha256(repr(values).encode()).hexdigest()
