"""The distillation loss as it is usually written beside a trainer, on full logits."""

from typing import Any

import torch
from torch.nn import functional as F

from tests.bench.rivals.rows import NO_LABEL


def kd_loss(
    student_logits: torch.Tensor,
    teacher_logits: torch.Tensor,
    labels: torch.Tensor,
    *,
    temperature: float,
) -> torch.Tensor:
    """Return temperature squared x KL(teacher || student), the mean over the labelled places.

    Args:
        student_logits: [B, L, V], or [B, K] for classes.
        teacher_logits: Of the same shape.
        labels: [B, L] or [B]; where there is none, nothing counts.
        temperature: Divides both logits.
    """
    values = F.kl_div(
        F.log_softmax(student_logits / temperature, dim=-1),
        F.softmax(teacher_logits / temperature, dim=-1),
        reduction="none",
    ).sum(-1)
    is_scored = labels != NO_LABEL
    return (values * is_scored).sum() / is_scored.sum() * temperature**2


def logits_and_labels(
    outputs: Any, teacher_outputs: Any, labels: torch.Tensor, *, is_causal: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return logits of both models and the labels that they are to be compared at."""
    if is_causal:
        return outputs.logits[:, :-1], teacher_outputs.logits[:, :-1], labels[:, 1:]
    return outputs.logits, teacher_outputs.logits, labels
