"""Sequence classification: one class, or one number, for a text or a pair of texts."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from raykd.batch import Batch, FloatArray, IntArray, Rows, idle_batch, padded_batch
from raykd.config.schema.run import TaskName
from raykd.errors import DataError

Summary = Literal["first", "last"]
"""The token whose hidden state stands for the row: first in encoders, last in decoders."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SequenceClassification:
    """Scores the one token that stands for its row."""

    class_names: tuple[str, ...]
    """NUMBER where the label of a row is a number."""

    summary: Summary
    pad_id: int
    name: TaskName = "sequence_classification"

    @property
    def num_classes(self) -> int:
        """Return how many classes are scored; a number is one score."""
        return len(self.class_names) or 1

    def collate(self, rows: Rows) -> Batch:
        """Return a batch that scores one position per row.

        Raises:
            DataError: The rows have no labels.
        """
        if not len(rows):
            return idle_batch(self.pad_id)
        labels_B = _labels(rows)
        ends_B = np.cumsum(rows.lengths_B)
        return padded_batch(
            rows,
            input_ids_T=rows.token_ids_T,
            scored_P=ends_B - 1 if self.summary == "last" else ends_B - rows.lengths_B,
            labels_P=labels_B,
            pad_id=self.pad_id,
        )

    def targets(self, rows: Rows) -> IntArray:
        """Return the class of each row.

        Raises:
            DataError: The rows have no labels.
        """
        return _labels(rows).astype(np.int64)


def _labels(rows: Rows) -> IntArray | FloatArray:
    if rows.labels_B is None:
        message = "rows: have no label, which sequence_classification needs; prepare with one"
        raise DataError(message)
    return rows.labels_B
