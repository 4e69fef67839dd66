"""Tallies of scores that a test writes down."""

import torch
from raykd.batch import Batch
from raykd.scores import DenseScores
from raykd.tasks.tally import Tally, predictions, tally
from raykd.tasks.task import Task


def tallied(
    task: Task,
    logits_PK: torch.Tensor,
    batch: Batch,
    *,
    num_languages: int,
    other_logits_PK: torch.Tensor | None = None,
) -> Tally:
    """Return what a batch contributes, from the scores of one model or of two."""
    predicted, other = (
        None if each is None else predictions(DenseScores(logits_PK=each), batch.labels_P)
        for each in (logits_PK, other_logits_PK)
    )
    assert predicted is not None
    return tally(
        task,
        predicted,
        batch,
        num_languages=num_languages,
        other_classes_P=None if other is None else other.classes_P,
    )
