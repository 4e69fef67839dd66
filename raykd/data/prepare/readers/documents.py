"""Text files, cut into documents."""

from collections.abc import Iterator
from itertools import groupby
from typing import IO

from raykd.config.schema.prepare import ColumnOptions, SourceOptions
from raykd.data.prepare.readers.records import Records, Row, batched, text_schema
from raykd.data.prepare.readers.streams import text_stream


def read_documents(uri: str, sources: SourceOptions) -> Iterator[Records]:
    """Yield the lines, paragraphs or the whole of a text file; ends of lines are line feeds."""
    with text_stream(uri) as stream:
        rows: Iterator[Row]
        if sources.document == "line":
            rows = ((number, [_ended(line)]) for number, line in enumerate(stream, start=1))
        elif sources.document == "paragraph":
            rows = _paragraphs(stream)
        else:
            rows = iter([(1, [stream.read()])])
        yield from batched(rows, text_schema(ColumnOptions()))


def _paragraphs(stream: IO[str]) -> Iterator[Row]:
    """Yield runs of lines that are not blank."""
    numbered = enumerate(stream, start=1)
    for is_blank, lines in groupby(numbered, key=lambda line: line[1].isspace()):
        if not is_blank:
            numbers, texts = zip(*lines, strict=True)
            yield numbers[0], [_ended("".join(texts))]


def _ended(line: str) -> str:
    return line.removesuffix("\n")
