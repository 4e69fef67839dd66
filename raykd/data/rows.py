"""Rows out of Arrow, as the flat numpy arrays that tasks work on."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raykd.batch import IntArray, Rows


def as_rows(batch: pa.RecordBatch, *, epoch: int) -> Rows:
    """Return a record batch of prepared rows, read in one epoch, as numpy arrays.

    Args:
        batch: Columns as in ``raykd.data.manifest``, ``language`` as an index.
        epoch: How often the rows have been read before.
    """
    columns = {name: batch.column(name) for name in batch.schema.names}

    def values(name: str) -> IntArray | None:
        column = columns.get(name)
        if column is None:
            return None
        flat = column.flatten() if pa.types.is_list(column.type) else column
        return flat.to_numpy(zero_copy_only=False).astype(np.int64)  # type: ignore[no-any-return]

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
        labels_B=values("label"),
        token_labels_T=values("word_labels"),
        token_types_T=values("token_type_ids"),
    )


def joined(pieces: Sequence[Rows]) -> Rows:
    """Return the rows of all pieces, which have the same columns, one after the other."""
    if len(pieces) == 1:
        return pieces[0]
    if not pieces:
        return Rows.empty()
    arrays: dict[str, Any] = {}
    for field in dataclasses.fields(Rows):
        values = [getattr(piece, field.name) for piece in pieces]
        arrays[field.name] = None if values[0] is None else np.concatenate(values)
    return Rows(**arrays)
