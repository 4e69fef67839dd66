"""Arrow bytes to rows: record batches, and those of one lane, shuffled in windows, in order."""

import functools
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc

from raykd.batch import FloatArray, IntArray, Rows
from raykd.data.manifest import Manifest, Shard
from raykd.data.row_filter import RowFilter
from raykd.data.shard_checks import check_batch, expected_schema
from raykd.errors import DataError
from raykd.storage import uris

T = TypeVar("T")

_OPEN_FILES = 8
"""Shards each reading thread keeps open."""

_UNREADABLE = (pa.ArrowException, OSError, EOFError, IndexError, ValueError, OverflowError)
"""How Arrow, and the comparison with the manifest, refuse a file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchAddress:
    """Where a record batch lies."""

    uri: str
    index: int
    rows: int
    """That are read of it."""

    language: int
    row_filter: RowFilter | None = None
    """Which those are; None reads all."""


def addresses(manifest: Manifest, shards: Sequence[Shard]) -> tuple[BatchAddress, ...]:
    """List the record batches of some shards that are read, in the order of the manifest."""
    return tuple(
        BatchAddress(
            uri=uris.join(manifest.uri, shard.path),
            index=index,
            rows=rows,
            language=manifest.languages.index(shard.language),
            row_filter=manifest.row_filters.get(shard.path),
        )
        for shard in shards
        for index, rows in enumerate(shard.batch_rows)
        if rows
    )


def open_shard(uri: str, options: pa.ipc.IpcReadOptions | None = None) -> pa.RecordBatchFileReader:
    """Open a shard to read its record batches, or the columns of them that the options name."""
    return pa.ipc.open_file(uris.open_arrow(uri), options=options)


@contextmanager
def told_as_unreadable(address: BatchAddress) -> Iterator[None]:
    """Raise a DataError that names the record batch where the block cannot read it."""
    try:
        yield
    except FileNotFoundError as error:
        message = f"{address.uri}: is missing, but the manifest names it; prepare the data again"
        raise DataError(message) from error
    except _UNREADABLE as error:
        message = (
            f"{address.uri}: record batch {address.index} cannot be read: "
            f"{' '.join(str(error).split())}; prepare the data again"
        )
        raise DataError(message) from error


def require_rows(batch: pa.RecordBatch, address: BatchAddress) -> None:
    """Compare how many rows were read with those of the address.

    Raises:
        ValueError: They are more or fewer.
    """
    if batch.num_rows != address.rows:
        message = f"it has {batch.num_rows} rows, but the manifest says {address.rows}"
        raise ValueError(message)


class BatchReader:
    """Reads record batches on several threads; each thread opens its own files."""

    def __init__(self, manifest: Manifest, *, num_threads: int = 4) -> None:
        self._manifest = manifest
        self._schema = expected_schema(manifest)
        self._local = threading.local()
        self._threads = ThreadPoolExecutor(num_threads, thread_name_prefix="raykd-read")

    def submit(self, batches: Sequence[BatchAddress]) -> "Future[pa.RecordBatch]":
        """Start reading record batches; the result is their rows, one after the other."""
        return self._threads.submit(self._read_all, batches)

    def close(self) -> None:
        """Drop what has not been read yet and end the threads."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _read_all(self, batches: Sequence[BatchAddress]) -> pa.RecordBatch:
        if len(batches) == 1:
            # No copy: with a window of one, it would double what a lane holds.
            return self._read(batches[0])
        return pa.concat_batches([self._read(batch) for batch in batches])

    def _read(self, address: BatchAddress) -> pa.RecordBatch:
        if not hasattr(self._local, "opened"):
            self._local.opened = functools.lru_cache(_OPEN_FILES)(open_shard)
        with told_as_unreadable(address):
            batch = self._local.opened(address.uri).get_batch(address.index)
            check_batch(batch, self._manifest, schema=self._schema)
            if address.row_filter is not None:
                batch = batch.filter(pa.array(address.row_filter.mask(batch)))
            require_rows(batch, address)
        # A file has one language: its index in the manifest takes the place of the name.
        language = pa.array(np.full(batch.num_rows, address.language, dtype=np.int64))
        column = batch.schema.get_field_index("language")
        return batch.set_column(column, "language", language)


def as_rows(batch: pa.RecordBatch, *, epoch: int) -> Rows:
    """Return a record batch of prepared rows, read in one epoch, as numpy arrays.

    Args:
        batch: Columns as in ``raykd.data.manifest``, ``language`` as an index.
        epoch: How often the rows have been read before.
    """
    columns = {name: batch.column(name) for name in batch.schema.names}

    def values(name: str) -> IntArray | None:
        column: Any = columns.get(name)
        if column is None:
            return None
        # Stored in the smallest type that holds them; torch indexes by int64.
        flat = column.flatten() if pa.types.is_list(column.type) else column
        return flat.to_numpy(zero_copy_only=False).astype(np.int64)  # type: ignore[no-any-return]

    def labels() -> IntArray | FloatArray | None:
        column: Any = columns.get("label")
        if column is None or pa.types.is_integer(column.type):
            return values("label")
        return column.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]

    tokens, row_ids, languages = values("input_ids"), values("row_id"), values("language")
    assert tokens is not None  # noqa: S101  every shard has these three columns
    assert row_ids is not None  # noqa: S101
    assert languages is not None  # noqa: S101
    return Rows(
        token_ids_T=tokens,
        lengths_B=pc.list_value_length(columns["input_ids"]).to_numpy().astype(np.int64),
        row_ids_B=row_ids,
        epochs_B=np.full(batch.num_rows, epoch, dtype=np.int64),
        languages_B=languages,
        labels_B=labels(),
        token_labels_T=values("word_labels"),
        token_types_T=values("token_type_ids"),
    )


def windows(batches: Sequence[T], window: int) -> list[Sequence[T]]:
    """Return the record batches of a lane as those whose rows are shuffled together."""
    return [batches[i : i + window] for i in range(0, len(batches), window)]


class Lane:
    """The rows of one lane in one epoch, from any row on, each window in random order."""

    def __init__(
        self,
        batches: Sequence[BatchAddress],
        *,
        reader: BatchReader,
        window: int,
        seed: tuple[int, ...],
        start: int,
    ) -> None:
        self._reader = reader
        self._seed = seed
        self._windows = windows(batches, window)
        self._next = 0
        skipped = 0
        # The manifest gives the sizes: a lane that begins late reads nothing of what it skips.
        while self._windows[self._next :] and start >= skipped + self._rows(self._next):
            skipped += self._rows(self._next)
            self._next += 1
        self._skip = start - skipped
        self._ahead = self._submit()
        self._window = pa.record_batch({})
        self._order_left = np.zeros(0, dtype=np.int64)

    def take(self, num_rows: int) -> list[pa.RecordBatch]:
        """Return the next rows of the lane, in pieces."""
        pieces = []
        while num_rows:
            if not len(self._order_left):
                self._open_window()
            chosen, self._order_left = np.split(self._order_left, [num_rows])
            pieces.append(self._window.take(pa.array(chosen)))
            num_rows -= len(chosen)
        return pieces

    def _rows(self, window: int) -> int:
        return sum(batch.rows for batch in self._windows[window])

    def _submit(self) -> "Future[pa.RecordBatch] | None":
        if self._next == len(self._windows):
            return None
        return self._reader.submit(self._windows[self._next])

    def _open_window(self) -> None:
        if self._ahead is None:
            message = "more rows were asked of a lane than it has"
            raise IndexError(message)
        self._window = self._ahead.result()
        # Seeded by the window's number, so that a lane beginning within it draws the same order.
        generator = np.random.default_rng((*self._seed, self._next))
        self._order_left = generator.permutation(self._window.num_rows)[self._skip :]
        self._skip = 0
        self._next += 1
        self._ahead = self._submit()
