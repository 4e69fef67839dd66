"""What an evaluation counts: sums that may be added in any order over any split of the rows.

Metrics are made from sums, never averaged: so they do not depend on the size of
micro-batches or the number of workers. Beside the dimension key of raykd.batch,
G is languages and S is sums.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from raykd.batch import Batch
from raykd.scores import Scores, by_position
from raykd.tasks.entities import are_entity_labels, count_entities
from raykd.tasks.task import Task, predicts_number

NUM_SCALARS = 8
"""Sums that do not depend on the number of classes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """Sums over scored positions, one line per language; ``+`` joins two tallies."""

    sums_GS: torch.Tensor
    """float64. Loss in nats, positions, right predictions, positions where another model is
    compared, those where the predictions of both agree; right, predicted and true entities; and
    where classes are scored K right predictions, K predictions, K labels by class.

    Tallies of the same task and languages have one shape, so an all-reduce of this tensor
    adds the tallies of all workers. Of numbers, the loss is the squared error."""

    numbers_N3: torch.Tensor | None = None
    """float64. Where numbers are predicted: language, predicted and true number of each of the N
    positions, for ranks are no sums; else None."""

    def __add__(self, other: "Tally") -> "Tally":
        """Return the tally of both sets of rows."""
        numbers_N3 = None
        if self.numbers_N3 is not None and other.numbers_N3 is not None:
            numbers_N3 = torch.cat([self.numbers_N3, other.numbers_N3])
        return Tally(sums_GS=self.sums_GS + other.sums_GS, numbers_N3=numbers_N3)

    @staticmethod
    def none(task: Task, *, num_languages: int, device: torch.device) -> "Tally":
        """Return the tally of no rows."""
        num_sums = NUM_SCALARS + 3 * len(task.class_names or ())
        # float64 counts exactly up to 2**53, and a long sum of losses keeps its digits.
        zeros_GS = torch.zeros(num_languages, num_sums, dtype=torch.float64, device=device)
        numbers_N3 = zeros_GS.new_zeros(0, 3) if predicts_number(task) else None
        return Tally(sums_GS=zeros_GS, numbers_N3=numbers_N3)

    @property
    def positions_G(self) -> torch.Tensor:  # noqa: N802  a tensor, named like the fields
        """Scored positions of each language."""
        return self.sums_GS[:, 1]

    @property
    def accuracies_G(self) -> torch.Tensor:  # noqa: N802  a tensor, named like the fields
        """Share of right predictions in each language; 0 where it has no position."""
        accuracies_G: torch.Tensor = self.sums_GS[:, 2] / self.positions_G.clamp(min=1)
        return accuracies_G


def has_entities(task: Task) -> bool:
    """Tell whether a task labels words with entities, and not, say, parts of speech."""
    names = task.class_names
    return task.name == "token_classification" and names is not None and are_entity_labels(names)


@dataclass(frozen=True, kw_only=True, slots=True)
class Predictions:
    """What a model predicts at scored positions."""

    losses_P: torch.Tensor
    """Cross entropy against the labels, in nats; of numbers, the squared error."""

    classes_P: torch.Tensor
    """The class with the highest score, int64; where the labels are numbers, the number that is
    predicted, float64."""


@torch.no_grad()
def predictions(scores: Scores, labels_P: torch.Tensor) -> Predictions:
    """Return what a model predicts; its scores are never all in memory.

    Labels of a floating-point type are numbers, others are classes.
    """
    if labels_P.is_floating_point():
        numbers_P = scores.logits().squeeze(-1).double()
        return Predictions(losses_P=(numbers_P - labels_P) ** 2, classes_P=numbers_P)

    def measure(logits_CK: torch.Tensor, labels_C: torch.Tensor) -> torch.Tensor:
        # One tensor of both, as by_position joins them: float64 holds every class exactly.
        losses_C = F.cross_entropy(logits_CK.float(), labels_C, reduction="none")
        return torch.stack([losses_C.double(), logits_CK.argmax(dim=-1).double()], dim=-1)

    losses_P, classes_P = by_position(scores, measure, labels_P).unbind(-1)
    return Predictions(losses_P=losses_P, classes_P=classes_P.long())


@torch.no_grad()
def tally(
    task: Task,
    predicted: Predictions,
    batch: Batch,
    *,
    num_languages: int,
    other_classes_P: torch.Tensor | None = None,
) -> Tally:
    """Return what a batch contributes to an evaluation.

    Args:
        task: What made the batch.
        predicted: By the model that is evaluated.
        batch: On the device of the predictions; whole rows, for the sake of entities.
        num_languages: G, the number of languages that ``batch.languages_B`` points into.
        other_classes_P: What another model predicts at the same positions, to measure agreement.
    """
    predicted_P = predicted.classes_P
    columns = [
        predicted.losses_P,
        torch.ones_like(predicted_P),
        predicted_P == batch.labels_P,
        *_agreement(predicted_P, other_classes_P),
        *_entities(task, predicted_P, batch),
        *_classes(task, predicted_P, batch.labels_P),
    ]
    columns_PS = torch.stack([column.double() for column in columns], dim=-1)
    languages_P = batch.languages_B[batch.examples_P]
    sums_GS = columns_PS.new_zeros(num_languages, columns_PS.shape[-1])
    numbers_N3 = None
    if predicts_number(task):
        numbers_N3 = torch.stack([languages_P, predicted_P, batch.labels_P], dim=-1).double()
    return Tally(sums_GS=sums_GS.index_add_(0, languages_P, columns_PS), numbers_N3=numbers_N3)


def _agreement(
    predicted_P: torch.Tensor, other_classes_P: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    if other_classes_P is None:
        nothing_P = torch.zeros_like(predicted_P)
        return nothing_P, nothing_P
    return torch.ones_like(predicted_P), predicted_P == other_classes_P


def _entities(task: Task, predicted_P: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, ...]:
    if task.class_names is None or not has_entities(task):
        return (torch.zeros_like(predicted_P),) * 3
    counts = count_entities(
        predicted_P,
        batch.labels_P,
        examples_P=batch.examples_P,
        class_names=task.class_names,
    )
    return counts.right_P, counts.predicted_P, counts.true_P


def _classes(
    task: Task, predicted_P: torch.Tensor, labels_P: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    if not task.class_names:
        return ()
    classes_K1 = torch.arange(task.num_classes, device=predicted_P.device)[:, None]
    is_predicted_KP, is_label_KP = predicted_P == classes_K1, labels_P == classes_K1
    return (*(is_predicted_KP & is_label_KP), *is_predicted_KP, *is_label_KP)
