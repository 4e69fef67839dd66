"""What a task is: rows in, a padded batch with scored positions out."""

from typing import Protocol

from raykd.batch import Batch, IntArray, Rows
from raykd.config.schema.prepare import NUMBER
from raykd.config.schema.run import TaskName


class Task(Protocol):
    """Decides which positions of a batch are scored, and what is right there."""

    @property
    def name(self) -> TaskName:
        """Its name in the configuration."""

    @property
    def num_classes(self) -> int:
        """K, what is scored: entries of the vocabulary, classes, or one number."""

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Names of the classes, or NUMBER; None where the vocabulary is what is scored."""

    def collate(self, rows: Rows) -> Batch:
        """Pad rows to one length and mark the scored positions.

        No rows give a batch of one padding token and no scored position, so that an idle
        worker can run forward and backward with the others.
        """

    def targets(self, rows: Rows) -> IntArray:
        """Return what is right wherever the rows may be scored, in no batch: one of K each."""


def predicts_number(task: Task) -> bool:
    """Tell whether what is right at a scored position is a number, and not one of K classes."""
    return task.class_names == NUMBER


class TokenizerFacts(Protocol):
    """What tasks need to know about a tokenizer."""

    @property
    def vocab_size(self) -> int:
        """Number of ids, added tokens included."""

    @property
    def pad_id(self) -> int:
        """Id that fills up short rows."""

    @property
    def mask_id(self) -> int | None:
        """Id that hides a token, or None for tokenizers without."""

    @property
    def special_ids(self) -> tuple[int, ...]:
        """Ids that are no text, such as [CLS]."""
