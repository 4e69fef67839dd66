"""Causal language modelling: predict the next token."""

from dataclasses import dataclass

import numpy as np

from raykd.batch import Batch, IntArray, Rows, idle_batch, padded_batch
from raykd.config.schema.run import TaskName


@dataclass(frozen=True, kw_only=True, slots=True)
class CausalLM:
    """Scores every token that has a next one."""

    num_classes: int
    """Size of the vocabulary."""

    pad_id: int
    name: TaskName = "causal_lm"
    class_names: None = None

    def collate(self, rows: Rows) -> Batch:
        """Return a batch that scores all but the last token of each row."""
        if not len(rows):
            return idle_batch(self.pad_id)
        scored_P, labels_P = next_tokens(rows)
        return padded_batch(
            rows,
            input_ids_T=rows.token_ids_T,
            scored_P=scored_P,
            labels_P=labels_P,
            pad_id=self.pad_id,
        )

    def targets(self, rows: Rows) -> IntArray:
        """Return every token that has one before it in its row."""
        return next_tokens(rows)[1]


def next_tokens(rows: Rows) -> tuple[IntArray, IntArray]:
    """Shift the labels: the one place in raykd where this is done.

    Returns:
        The indices of the tokens that have a next one in their row, ascending, and that
        next token, both of shape [P].
    """
    has_next_T = np.ones(len(rows.token_ids_T), dtype=np.bool_)
    has_next_T[np.cumsum(rows.lengths_B) - 1] = False
    scored_P = np.flatnonzero(has_next_T)
    return scored_P, rows.token_ids_T[scored_P + 1]
