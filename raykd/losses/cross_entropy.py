"""Hard labels: the negative log probability of what is right."""

import torch
from torch.nn import functional as F

from raykd.losses.precision import widened


def cross_entropy(student_logits_PK: torch.Tensor, labels_P: torch.Tensor) -> torch.Tensor:
    """Return the cross entropy of the student against the labels at each position.

    Args:
        student_logits_PK: Unnormalised scores of the model that learns.
        labels_P: The right class of each position, from 0 to K - 1.

    Returns:
        Nats, shape [P], in float32 (float64 for float64 logits).
    """
    return F.cross_entropy(widened(student_logits_PK), labels_P, reduction="none")
