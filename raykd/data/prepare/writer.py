"""Shards: the Arrow files of a prepared data set, one language and one split each."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from raykd.data.manifest import RECORD_BATCH_BYTES, Shard

_SHARD_BYTES = 256 << 20
"""Compressed size at which a shard is closed and the next one begun."""

_MIN_BATCHES = 256
"""Record batches that a split has, if it has rows enough, for lanes and shuffling."""

_MIN_BATCH_ROWS = 8

# One thread: bytes must not depend on the machine.
_IPC_OPTIONS = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """How much there is of something."""

    rows: int
    tokens: int

    def __add__(self, other: "Size") -> "Size":
        """Return both together."""
        return Size(rows=self.rows + other.rows, tokens=self.tokens + other.tokens)

    def rows_per_batch(self, *, bytes_per_token: int) -> int:
        """Return the rows of a record batch: 1 MiB, less where the split is small.

        Record batches are what is dealt to lanes and shuffled: a small split needs enough.
        """
        bytes_per_row = max(self.tokens * bytes_per_token // max(self.rows, 1), 1)
        by_size = max(RECORD_BATCH_BYTES // bytes_per_row, 1)
        return min(by_size, max(self.rows // _MIN_BATCHES, _MIN_BATCH_ROWS))


class ShardWriter:
    """Writes the rows of one language of one split, file after file."""

    def __init__(
        self, root: Path, schema: pa.Schema, *, split: str, language: str, batch_rows: int
    ) -> None:
        self._root = root
        self._schema = schema
        self._stem = f"{split}/{_file_name(language)}"
        self._language = language
        self._batch_rows = batch_rows
        self._waiting: list[pa.Table] = []
        self._file: _OpenShard | None = None
        self._finished: list[Shard] = []

    def append(self, columns: dict[str, pa.Array | pa.ChunkedArray]) -> None:
        """Add rows; ``language`` is filled in."""
        rows = len(columns["input_ids"])
        language = pa.DictionaryArray.from_arrays(
            pa.array(np.zeros(rows, dtype=np.int16)), pa.array([self._language])
        )
        table = pa.table({**columns, "language": language}).select(self._schema.names)
        self._waiting.append(table.cast(self._schema))
        if sum(table.num_rows for table in self._waiting) >= self._batch_rows:
            self._flush(everything=False)

    def close(self) -> list[Shard]:
        """Write what waits and return the shards in their order."""
        self._flush(everything=True)
        self._finish_file()
        return self._finished

    def _flush(self, *, everything: bool) -> None:
        table = pa.concat_tables(self._waiting) if self._waiting else self._schema.empty_table()
        size = self._batch_rows
        stop = table.num_rows if everything else table.num_rows // size * size
        for start in range(0, stop, size):
            self._write(table.slice(start, min(size, stop - start)))
        self._waiting = [table.slice(stop)] if stop < table.num_rows else []

    def _write(self, table: pa.Table) -> None:
        if self._file is None:
            name = f"{self._stem}-{len(self._finished):05d}.arrow"
            self._file = _OpenShard(self._root, name, schema=self._schema)
        self._file.write(table)
        if self._file.bytes >= _SHARD_BYTES:
            self._finish_file()

    def _finish_file(self) -> None:
        if self._file is not None:
            self._finished.append(self._file.close(self._language))
            self._file = None


class _OpenShard:
    def __init__(self, root: Path, name: str, *, schema: pa.Schema) -> None:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self._name = name
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_file(self._sink, schema, options=_IPC_OPTIONS)
        self._batch_rows: list[int] = []
        self._tokens = 0

    @property
    def bytes(self) -> int:
        return int(self._sink.tell())

    def write(self, table: pa.Table) -> None:
        # Exactly one record batch each: the manifest lists their rows.
        batch = table.combine_chunks().to_batches()[0]
        self._writer.write_batch(batch)
        self._batch_rows.append(batch.num_rows)
        self._tokens += len(batch["input_ids"].flatten())

    def close(self, language: str) -> Shard:
        self._writer.close()
        self._sink.close()
        return Shard(
            path=self._name,
            language=language,
            batch_rows=tuple(self._batch_rows),
            tokens=self._tokens,
        )


def _file_name(language: str) -> str:
    """Return the language as a file name: itself where it is one, else made unique by a hash."""
    safe = re.sub(r"[^A-Za-z0-9_-]+", "_", language)[:40]
    if safe == language:
        return language
    return f"{safe}_{hashlib.sha256(language.encode()).hexdigest()[:8]}"
