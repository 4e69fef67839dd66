"""From parts to shards: sort examples by split and language, pack them, number the rows."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raykd.data.manifest import Shard
from raykd.data.prepare.packing import PackedLayout, Packer, TokenArray
from raykd.data.prepare.parts import Part, part_examples
from raykd.data.prepare.writer import ShardWriter, Size
from raykd.errors import DataError

_MAX_LANGUAGES = 500
"""A column with more values holds no languages: each would get files of its own."""

Columns = dict[str, Any]


class Assembly:
    """Writes the shards of all splits into one directory."""

    def __init__(self, root: Path, schema: pa.Schema, *, layout: PackedLayout | None) -> None:
        self._root = root
        self._schema = schema
        self._layout = layout
        self._writers: dict[tuple[str, str], ShardWriter] = {}
        self._packers: dict[tuple[str, str], Packer] = {}
        self._num_rows = 0
        self.max_length = 0
        """Tokens of the longest row so far."""

    def write(
        self, parts: Sequence[Part], on_part: Callable[[int], None]
    ) -> dict[str, tuple[Shard, ...]]:
        """Write all parts, in their order, and return the shards of each split.

        Raises:
            DataError: There are more languages than anyone means.
        """
        self._open(parts)
        for number, (part, table) in enumerate(part_examples(parts), start=1):
            for split, language in part.sizes:
                chosen = table.filter(
                    (pc.field("split") == split) & (pc.field("language") == language)
                )
                self._add((split, language), chosen)
            on_part(number)
        return self._close()

    def _open(self, parts: Sequence[Part]) -> None:
        sizes: dict[tuple[str, str], Size] = {}
        for part in parts:
            for key, size in part.sizes.items():
                sizes[key] = sizes.get(key, Size(rows=0, tokens=0)) + self._rows_of(size)
        _check_languages({language for _, language in sizes})
        token_bytes = self._schema.field("input_ids").type.value_type.bit_width // 8
        # Sorted, so that the order of the shards depends on the data alone.
        for split, language in sorted(sizes):
            of_split = [size for key, size in sizes.items() if key[0] == split]
            size = sum(of_split, start=Size(rows=0, tokens=0))
            self._writers[split, language] = ShardWriter(
                self._root,
                self._schema,
                split=split,
                language=language,
                batch_rows=size.rows_per_batch(bytes_per_token=token_bytes),
            )
            if self._layout is not None:
                self._packers[split, language] = Packer(self._layout)

    def _rows_of(self, size: Size) -> Size:
        """Return about how many rows so many documents make."""
        if self._layout is None:
            return size
        rows = self._layout.count_rows(documents=size.rows, tokens=size.tokens)
        return Size(rows=rows, tokens=rows * self._layout.max_length)

    def _add(self, key: tuple[str, str], table: pa.Table) -> None:
        if key not in self._packers:
            names = [name for name in table.column_names if name in self._schema.names]
            self._append(key, {name: table[name] for name in names})
            return
        ids = table["input_ids"].combine_chunks()
        tokens = ids.flatten().to_numpy()
        lengths = ids.value_lengths().to_numpy().astype(np.int64)
        self._append_packed(key, list(self._packers[key].full_rows(tokens, lengths)))

    def _close(self) -> dict[str, tuple[Shard, ...]]:
        splits: dict[str, tuple[Shard, ...]] = {}
        for key, writer in self._writers.items():
            if key in self._packers:
                self._append_packed(key, list(self._packers[key].last_row()))
            splits[key[0]] = (*splits.get(key[0], ()), *writer.close())
        return splits

    def _append_packed(self, key: tuple[str, str], rows: list[TokenArray]) -> None:
        if rows:
            # int32, as Arrow's lists have it: a part has far less than 2**31 tokens.
            offsets = np.cumsum([0, *map(len, rows)]).astype(np.int32)
            ids = pa.ListArray.from_arrays(offsets, pa.array(np.concatenate(rows)))
            self._append(key, {"input_ids": ids})

    def _append(self, key: tuple[str, str], columns: Columns) -> None:
        rows = len(columns["input_ids"])
        longest = pc.max(pc.list_value_length(columns["input_ids"])).as_py()
        self.max_length = max(self.max_length, longest)
        # Rising within every shard, which raykd.data.shard_checks insists on.
        row_ids = np.arange(self._num_rows, self._num_rows + rows, dtype=np.int64)
        self._num_rows += rows
        self._writers[key].append({**columns, "row_id": pa.array(row_ids)})


def _check_languages(languages: set[str]) -> None:
    if len(languages) > _MAX_LANGUAGES:
        message = (
            f"--language-column: {len(languages)} different languages, such as "
            f"{', '.join(sorted(languages)[:3])!r}; at most {_MAX_LANGUAGES} are possible"
        )
        raise DataError(message)
