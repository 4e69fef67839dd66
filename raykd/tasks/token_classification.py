"""Token classification: one class for each word, such as the entity it belongs to."""

from dataclasses import dataclass

import numpy as np

from raykd.batch import Batch, IntArray, Rows, idle_batch, padded_batch
from raykd.config.schema.run import TaskName
from raykd.errors import DataError

# As NO_LABEL of raykd.data.manifest.
_NO_LABEL = -100


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenClassification:
    """Scores the first token of each labelled word."""

    class_names: tuple[str, ...]
    pad_id: int
    name: TaskName = "token_classification"

    @property
    def num_classes(self) -> int:
        """Return the number of classes."""
        return len(self.class_names)

    def collate(self, rows: Rows) -> Batch:
        """Return a batch that scores the tokens that carry a label.

        Raises:
            DataError: The rows have no word labels.
        """
        if not len(rows):
            return idle_batch(self.pad_id)
        labels_T = self._labels(rows)
        scored_P = np.flatnonzero(labels_T != _NO_LABEL)
        return padded_batch(
            rows,
            input_ids_T=rows.token_ids_T,
            scored_P=scored_P,
            labels_P=labels_T[scored_P],
            pad_id=self.pad_id,
        )

    def targets(self, rows: Rows) -> IntArray:
        """Return the class of each word.

        Raises:
            DataError: The rows have no word labels.
        """
        labels_T = self._labels(rows)
        return labels_T[np.flatnonzero(labels_T != _NO_LABEL)]

    @staticmethod
    def _labels(rows: Rows) -> IntArray:
        if rows.token_labels_T is None:
            message = "rows: have no word labels, which token_classification needs; prepare them"
            raise DataError(message)
        return rows.token_labels_T
