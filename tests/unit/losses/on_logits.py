"""The closed forms as functions of logits that autograd can follow, each by its own name."""

from collections.abc import Callable
from typing import Any

import torch
from raykd.losses import divergences
from raykd.losses.derivative import Loss
from raykd.losses.terms import per_position


def _against_logits(loss: Callable[..., Loss]) -> Callable[..., torch.Tensor]:
    def values(
        student_PK: torch.Tensor, teacher_PK: torch.Tensor, **settings: Any
    ) -> torch.Tensor:
        return per_position(
            student_PK, lambda student: loss(student, student.like(teacher_PK), **settings)
        )

    return values


def _against_labels(loss: Callable[..., Loss]) -> Callable[..., torch.Tensor]:
    def values(student_PK: torch.Tensor, labels_P: torch.Tensor, **settings: Any) -> torch.Tensor:
        return per_position(student_PK, lambda student: loss(student, labels_P, **settings))

    return values


cross_entropy = _against_labels(divergences.cross_entropy)
squared_error = _against_labels(divergences.squared_error)
forward_kl = _against_logits(divergences.forward_kl)
reverse_kl = _against_logits(divergences.reverse_kl)
jensen_shannon = _against_logits(divergences.jensen_shannon)
skewed_kl = _against_logits(divergences.skewed_kl)
total_variation = _against_logits(divergences.total_variation)
logit_mse = _against_logits(divergences.logit_mse)
taid = _against_logits(divergences.taid)
