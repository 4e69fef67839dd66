"""A loss with its derivative in the student's logits, and how weighted ones add up."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from raykd.losses.softened import Logits, Softened

Weight = torch.Tensor | float


@dataclass(frozen=True, kw_only=True, slots=True)
class Loss:
    """Values of a loss at P positions, and their derivative in the student's logits.

    It is ``factor * (total * softmax.probs_PK - pull)``, where the pull is the sum of that of all
    classes and that of a few.
    """

    values_P: torch.Tensor
    """Nats, where nothing else is said; float32, or float64 for float64 student logits."""

    softmax: Softened | None = None
    """Of the student; None where the derivative has no such part."""

    total: Weight = 1.0
    """A number, or one for each position [P, 1]."""

    pull_PK: torch.Tensor | None = None
    few: tuple[torch.Tensor, torch.Tensor] | None = None
    """Classes [P, S], and what pulls at them beside."""

    factor: float = 1.0


def gradient(losses: Sequence[tuple[Loss, Weight]], student: Logits) -> torch.Tensor:
    """Return the derivative of a weighted sum of losses in the student's logits, [P, K].

    It is made in place of the student's probabilities, which are used up.

    Args:
        losses: With the weight of each, for all positions or for each [P, 1].
        student: What they are of.
    """
    sum_PK = _of_softmaxes(losses, student)
    for loss, weight in losses:
        if loss.pull_PK is not None:
            _add(sum_PK, loss.pull_PK, -weight * loss.factor)
    for loss, weight in losses:
        if loss.few is not None:
            ids_PS, pulls_PS = loss.few
            sum_PK.scatter_add_(-1, ids_PS, -weight * loss.factor * pulls_PS)
    return sum_PK


def _of_softmaxes(losses: Sequence[tuple[Loss, Weight]], student: Logits) -> torch.Tensor:
    totals: dict[Softened, Weight] = {}
    for loss, weight in losses:
        if loss.softmax is not None:
            total = weight * loss.factor * loss.total
            totals[loss.softmax] = totals.get(loss.softmax, 0.0) + total
    if totals:
        first, total = totals.popitem()
        sum_PK = first.probs_PK.mul_(total)
    else:
        sum_PK = torch.zeros_like(student.logits_PK, dtype=student.dtype)
    for softmax, total in totals.items():
        _add(sum_PK, softmax.probs_PK, total)
    return sum_PK


def _add(sum_PK: torch.Tensor, tensor_PK: torch.Tensor, weight: Weight) -> None:
    if isinstance(weight, float):
        sum_PK.add_(tensor_PK, alpha=weight)
    else:
        sum_PK.addcmul_(tensor_PK, weight)
