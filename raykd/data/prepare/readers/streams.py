"""Files as streams of text: unpacked by the ending of their name, decoded by their first bytes."""

import bz2
import codecs
import gzip
import io
import lzma
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import IO, Any

import pyarrow as pa

from raykd.storage import uris

_BUFFER_BYTES = 8 << 20
"""Bytes of one request to a store."""

_BYTE_ORDER_MARKS = {
    # The longer ones first: that of UTF-32 begins like that of UTF-16.
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8-sig",
}

_LOOKED_AT_BYTES = 1 << 16
"""Beginning of a file by which its encoding is told."""

_BYTES_PER_NULL = 200
"""A beginning with more nulls than one in so many bytes may be UTF-16."""

_UTF_16 = re.compile(rb"(?:..)*?(?:[\n\r ]\0|\0[\n\r ])", re.DOTALL)
"""Text with a blank of two bytes."""

_UNPACKERS: dict[str, Any] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": lambda source: pa.CompressedInputStream(source, "zstd"),
}
COMPRESSIONS = tuple(_UNPACKERS)


@contextmanager
def text_stream(uri: str, *, newline: str | None = None) -> Iterator[IO[str]]:
    """Open a file as text; bytes that are not of its encoding become U+FFFD.

    Args:
        uri: The file.
        newline: None makes every end of a line a line feed, "" keeps them as they are.

    Raises:
        ValueError: It is UTF-16 without a byte order mark.
    """
    with _unpacked(uri) as source:
        encoding = _encoding(source.peek(1)[:_LOOKED_AT_BYTES])
        with io.TextIOWrapper(source, encoding, errors="replace", newline=newline) as stream:
            yield stream


@contextmanager
def whole_file(uri: str) -> Iterator[pa.NativeFile]:
    """Open a file for random access; a compressed one is unpacked to this machine's disk."""
    if PurePosixPath(uri.lower()).suffix not in COMPRESSIONS:
        with uris.open_arrow(uri) as source:
            yield source
        return
    # Parquet and Arrow files are read from their end, which a compressed stream cannot seek to.
    with tempfile.NamedTemporaryFile(prefix="raykd-unpacked-") as target:
        with _unpacked(uri) as packed:
            shutil.copyfileobj(packed, target)
        target.flush()
        with pa.OSFile(target.name) as source:
            yield source


@contextmanager
def _unpacked(uri: str) -> Iterator[io.BufferedReader]:
    unpack = _UNPACKERS.get(PurePosixPath(uri.lower()).suffix, lambda source: source)
    with (
        uris.open_arrow(uri) as stored,
        io.BufferedReader(stored, _BUFFER_BYTES) as packed,
        io.BufferedReader(unpack(packed), _BUFFER_BYTES) as source,
    ):
        yield source


def _encoding(beginning: bytes) -> str:
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if beginning.startswith(mark):
            return encoding
    # Other text has next to no nulls; UTF-16 of Latin letters has one in every two bytes.
    if beginning.count(0) > 1 + len(beginning) // _BYTES_PER_NULL and _UTF_16.match(beginning):
        message = "it is UTF-16 without a byte order mark: save it as UTF-8"
        raise ValueError(message)
    return "utf-8"
