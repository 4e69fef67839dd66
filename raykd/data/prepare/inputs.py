"""The rows that a data set is prepared from, and what tells whether they changed."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from raykd.config.schema.prepare import Demo, PrepareOptions
from raykd.data.prepare.contents import content_of, places_of, tokenizer_content
from raykd.data.prepare.raw_rows import RawRows
from raykd.data.prepare.readers.demo_corpora import demo_identity, demo_rows
from raykd.data.prepare.reading import read_rows
from raykd.data.prepare.sources import SourceFile, expand
from raykd.data.prepare.splits import check_distinct

_UNIT_BYTES = 64 << 20
"""Least size of the files of a unit: reading them takes longer than to start a reader."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """Files and Hub data sets, or the rows of a demo corpus."""

    files: tuple[SourceFile, ...]
    demo: Demo | None
    record: dict[str, str | None]
    """Hashes of what is read and of where, as the manifest keeps them."""

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


def find_inputs(options: PrepareOptions) -> Inputs:
    """Find what the options name, and what it holds; of large files little is read.

    Raises:
        ConfigError: A source is unclear.
        DataError: A source or the tokenizer is not there.
    """
    demo, tokenizer = options.sources.demo, options.tokenizer.source
    files = () if demo is not None else tuple(expand(options.sources))
    check_distinct(files)
    record = {
        "places": places_of(options),
        "content": content_of(files) if demo is None else demo_identity(demo),
        "tokenizer": None if tokenizer is None else tokenizer_content(tokenizer),
    }
    return Inputs(files=files, demo=demo, record=record)


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
            # Characters stand for bytes: this is an estimate.
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
