"""How far the student is from the teacher at each scored position.

Every function takes the student's logits first, lets no gradient into the teacher and
returns one non-negative value per position, zero where the models agree.
"""

import torch
from torch.nn import functional as F

from raykd.losses.precision import widened


def forward_kl(
    student_logits_PK: torch.Tensor,
    teacher_logits_PK: torch.Tensor,
    *,
    temperature: float,
    scale_by_temperature_squared: bool,
) -> torch.Tensor:
    """Return KL(teacher || student) of the softened distributions at each position.

    The sum over classes of p (log p - log q), with p and q the softmax of teacher and
    student logits divided by the temperature (Hinton et al., 2015, section 2). A class
    that the teacher rules out (logit -inf) contributes nothing; one that only the student
    rules out makes the value infinite, and the gradient stays finite.

    Args:
        student_logits_PK: Unnormalised scores of the model that learns.
        teacher_logits_PK: Unnormalised scores to imitate.
        temperature: Divides both logits; above 1 it lifts the unlikely classes.
        scale_by_temperature_squared: Multiply by the square of the temperature, so that the
            size of the gradient does not depend on it.

    Returns:
        Nats, shape [P], in float32 (float64 for float64 student logits).

    Raises:
        ValueError: The two models do not score the same positions and classes.
    """
    _require_one_shape(student_logits_PK, teacher_logits_PK)
    student_log_probs_PK = F.log_softmax(widened(student_logits_PK) / temperature, dim=-1)
    teacher_log_probs_PK = F.log_softmax(widened(teacher_logits_PK.detach()) / temperature, dim=-1)
    teacher_probs_PK = teacher_log_probs_PK.exp()
    kl_PK = teacher_probs_PK * (teacher_log_probs_PK - student_log_probs_PK)
    # 0 * (-inf - x) is NaN, but its limit is 0.
    kl_P = kl_PK.where(teacher_probs_PK > 0, 0.0).sum(dim=-1)
    # Rounding can take the sum below zero where the models nearly agree: lift the value only,
    # because clamping would stop the gradient there.
    kl_P = torch.where(kl_P < 0, kl_P - kl_P.detach(), kl_P)
    return kl_P * temperature**2 if scale_by_temperature_squared else kl_P


def logit_mse(student_logits_PK: torch.Tensor, teacher_logits_PK: torch.Tensor) -> torch.Tensor:
    """Return the squared difference of the logits, averaged over the classes, per position.

    Args:
        student_logits_PK: Unnormalised scores of the model that learns, finite.
        teacher_logits_PK: Unnormalised scores to imitate, finite.

    Returns:
        Shape [P], in float32 (float64 for float64 student logits).

    Raises:
        ValueError: The two models do not score the same positions and classes.
    """
    _require_one_shape(student_logits_PK, teacher_logits_PK)
    difference_PK = widened(student_logits_PK) - widened(teacher_logits_PK.detach())
    return difference_PK.square().mean(dim=-1)


def _require_one_shape(student_logits_PK: torch.Tensor, teacher_logits_PK: torch.Tensor) -> None:
    if student_logits_PK.shape != teacher_logits_PK.shape:
        message = (
            f"student logits {tuple(student_logits_PK.shape)} and teacher logits "
            f"{tuple(teacher_logits_PK.shape)} must have one shape [positions, classes]"
        )
        raise ValueError(message)
