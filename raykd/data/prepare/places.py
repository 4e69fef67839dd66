"""Where in a text file a row or an error is: people look for lines, readers count records."""

import csv
import itertools
import json
import lzma
import zlib
from collections.abc import Iterator

import fsspec

from raykd.data.prepare.sources import ending


def place(uri: str, *, unit: str, number: int) -> str:
    """Name the place of a row: by its line in the file where rows and lines differ."""
    if ending(uri) in (".jsonl", ".ndjson", ".json"):
        lines = _json_lines(uri)
    elif ending(uri) in (".csv", ".tsv"):
        lines = _csv_lines(uri)
    else:
        return f"{uri}: {unit} {number}"
    try:
        line = next(itertools.islice(lines, number - 1, None), None)
    except csv.Error:
        line = None  # a field that is too long for the standard library
    return f"{uri}: {unit} {number}" if line is None else f"{uri}: line {line}"


def _lines(uri: str) -> Iterator[str]:
    with fsspec.open(uri, "rt", encoding="utf-8", errors="replace", compression="infer") as stream:
        yield from stream


def _json_lines(uri: str) -> Iterator[int]:
    """Yield the line of each record; none for a file that is one JSON array."""
    for number, line in enumerate(_lines(uri), start=1):
        if number == 1 and _begins_array(line):
            return
        if line.strip():
            yield number


def _csv_lines(uri: str) -> Iterator[int]:
    """Yield the line where each record begins, the header left out."""
    reader = csv.reader(_lines(uri), delimiter="\t" if ending(uri) == ".tsv" else ",")
    next(reader, None)
    begins = reader.line_num + 1
    for record in reader:
        if record:
            yield begins
        begins = reader.line_num + 1


def csv_header(uri: str, *, delimiter: str) -> list[str]:
    """Return the names of the columns of a CSV file."""
    header = next(csv.reader(_lines(uri), delimiter=delimiter), [])
    return [name.lstrip("\ufeff") for name in header]


def malformed_line(uri: str) -> str | None:
    """Describe the first line of a JSON Lines file that is no JSON; None where none is found."""
    number = 0
    try:
        for number, line in enumerate(_lines(uri), start=1):
            if number == 1 and _begins_array(line):
                return None
            if line.strip():
                json.loads(line.lstrip("\ufeff"))
    except json.JSONDecodeError as error:
        return f"{uri}: line {number} is no JSON: {error.msg} at column {error.colno}"
    except (OSError, EOFError, RecursionError, lzma.LZMAError, zlib.error):
        return None  # not even text, or too deep: whoever asks knows more
    return None


def _begins_array(line: str) -> bool:
    return line.lstrip("\ufeff \t").startswith("[")
