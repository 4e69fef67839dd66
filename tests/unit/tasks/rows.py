"""Rows to collate, written as lists."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from raykd.batch import IntArray, Rows


def rows_of(
    tokens: Sequence[Sequence[int]],
    *,
    row_ids: Sequence[int] | None = None,
    epoch: int = 0,
    languages: Sequence[int] | None = None,
    labels: Sequence[int] | None = None,
    token_labels: Sequence[Sequence[int]] | None = None,
) -> Rows:
    """Return rows with the given tokens; read-only, as those that lie in Arrow's memory."""
    num_rows = len(tokens)
    return Rows(
        token_ids_T=_flat(tokens),
        lengths_B=_frozen([len(row) for row in tokens]),
        row_ids_B=_frozen(range(num_rows) if row_ids is None else row_ids),
        epochs_B=_frozen([epoch] * num_rows),
        languages_B=_frozen([0] * num_rows if languages is None else languages),
        labels_B=None if labels is None else _frozen(labels),
        token_labels_T=None if token_labels is None else _flat(token_labels),
    )


def numbered(labels: Sequence[float], *, languages: Sequence[int] | None = None) -> Rows:
    """Return rows of a few tokens each, whose labels are numbers."""
    tokens = [[1, *range(5, 6 + index % 4)] for index in range(len(labels))]
    labels_B = np.array(labels, dtype=np.float32)
    return replace(rows_of(tokens, languages=languages), labels_B=labels_B)


def _flat(rows: Sequence[Sequence[int]]) -> IntArray:
    return _frozen([value for row in rows for value in row])


def _frozen(values: Sequence[int]) -> IntArray:
    array = np.array(values, dtype=np.int64)
    array.flags.writeable = False
    return array
