"""The losses as autograd differentiates them, written without a care for speed.

The closed forms of raykd are compared with these. One value per position, the student first; no
gradient into the teacher.
"""

import math

import torch
from raykd.losses.divergences import require_one_shape
from raykd.losses.layers import kl
from raykd.losses.softened import widened
from torch.nn import functional as F


def cross_entropy(
    student_logits_PK: torch.Tensor, labels_P: torch.Tensor, *, label_smoothing: float = 0.0
) -> torch.Tensor:
    """Return the cross entropy of the student against the labels at each position.

    Args:
        student_logits_PK: Unnormalised scores of the model that learns.
        labels_P: The right class of each position, from 0 to K - 1.
        label_smoothing: Share of the target that is uniform over the K classes, in [0, 1)
            (Szegedy et al., 2016, section 7). A class that the student rules out then makes the
            value infinite.

    Returns:
        Nats, shape [P], in float32 (float64 for float64 logits).
    """
    return F.cross_entropy(
        widened(student_logits_PK), labels_P, reduction="none", label_smoothing=label_smoothing
    )


def squared_error(student_logits_PK: torch.Tensor, labels_P: torch.Tensor) -> torch.Tensor:
    """Return the squared difference of the student's number and the true one at each position.

    Args:
        student_logits_PK: The number that the student predicts; K is 1.
        labels_P: The true number of each position.

    Returns:
        float32 values of shape [P], or float64 where the student is float64.
    """
    return (widened(student_logits_PK).squeeze(-1) - labels_P) ** 2


def forward_kl(
    student_logits_PK: torch.Tensor,
    teacher_logits_PK: torch.Tensor,
    *,
    temperature: float,
    scale_by_temperature_squared: bool,
) -> torch.Tensor:
    """Return KL(teacher || student) of the softened distributions at each position.

    The sum over classes of p (log p - log q) (Hinton et al., 2015, section 2). A class that
    only the teacher rules out contributes nothing; one that only the student rules out makes
    the value infinite, and the gradient stays finite.

    Returns:
        Nats, shape [P], in float32 (float64 for float64 student logits).

    Raises:
        ValueError: The two models do not score the same positions and classes.
    """
    log_q_PK, log_p_PK = _log_probs(student_logits_PK, teacher_logits_PK, temperature)
    return _scaled(kl(log_p_PK, log_q_PK), temperature, scale=scale_by_temperature_squared)


def reverse_kl(
    student_logits_PK: torch.Tensor,
    teacher_logits_PK: torch.Tensor,
    *,
    temperature: float,
    scale_by_temperature_squared: bool,
) -> torch.Tensor:
    """Return KL(student || teacher) of the softened distributions at each position.

    The sum over classes of q (log q - log p): it seeks the teacher's modes (Gu et al., 2024,
    MiniLLM, section 2). A class that only the student rules out contributes nothing. One that
    only the teacher rules out makes the value infinite; the gradient is then that of a teacher
    who gives it the smallest normal number as probability, a choice of ours that pushes the
    class down by a finite step.

    Returns:
        Nats, shape [P], in float32 (float64 for float64 student logits).

    Raises:
        ValueError: The two models do not score the same positions and classes.
    """
    log_q_PK, log_p_PK = _log_probs(student_logits_PK, teacher_logits_PK, temperature)
    is_ruled_out_PK = log_p_PK == -torch.inf
    lowest = math.log(torch.finfo(log_p_PK.dtype).tiny)
    kl_P = kl(log_q_PK, log_p_PK.masked_fill(is_ruled_out_PK, lowest))
    is_infinite_P = (is_ruled_out_PK & (log_q_PK.detach().exp() > 0)).any(dim=-1)
    # Added, not filled in, so that the gradient passes.
    kl_P = kl_P + torch.zeros_like(kl_P).masked_fill(is_infinite_P, torch.inf)
    return _scaled(kl_P, temperature, scale=scale_by_temperature_squared)


def jensen_shannon(
    student_logits_PK: torch.Tensor,
    teacher_logits_PK: torch.Tensor,
    *,
    temperature: float,
    scale_by_temperature_squared: bool,
    beta: float,
) -> torch.Tensor:
    """Return the generalised Jensen-Shannon divergence at each position.

    beta KL(p || m) + (1 - beta) KL(q || m) with m = beta p + (1 - beta) q (Agarwal et al.,
    2024, GKD, section 2), beta between 0 and 1; 0.5 is symmetric. Divided by beta it tends to
    KL(p || q) as beta goes to 0, divided by 1 - beta to KL(q || p) as beta goes to 1. It is
    finite whatever either model rules out.

    Returns:
        Nats, at most ln 2 before scaling, shape [P], in float32 (float64 for float64 student
        logits).

    Raises:
        ValueError: The two models do not score the same positions and classes, or beta is
            negative or not below 1.
    """
    log_q_PK, log_p_PK = _log_probs(student_logits_PK, teacher_logits_PK, temperature)
    log_m_PK = log_mixture(log_p_PK, log_q_PK, share_of_p=beta)
    values_P = beta * kl(log_p_PK, log_m_PK) + (1 - beta) * kl(log_q_PK, log_m_PK)
    return _scaled(values_P, temperature, scale=scale_by_temperature_squared)


def skewed_kl(
    student_logits_PK: torch.Tensor,
    teacher_logits_PK: torch.Tensor,
    *,
    temperature: float,
    scale_by_temperature_squared: bool,
    skew: float,
) -> torch.Tensor:
    """Return KL(teacher || mixture of teacher and student) at each position.

    KL(p || skew p + (1 - skew) q), at most -log(skew) before scaling, the skew in [0, 1) (Ko et
    al., 2024, DistiLLM, where it is 0.1). It is finite whatever either model rules out, unless
    the skew is 0: that is forward KL.

    Returns:
        Nats, shape [P], in float32 (float64 for float64 student logits).

    Raises:
        ValueError: The two models do not score the same positions and classes, or the skew
            is not in its range.
    """
    log_q_PK, log_p_PK = _log_probs(student_logits_PK, teacher_logits_PK, temperature)
    log_m_PK = log_mixture(log_p_PK, log_q_PK, share_of_p=skew)
    return _scaled(kl(log_p_PK, log_m_PK), temperature, scale=scale_by_temperature_squared)


def total_variation(
    student_logits_PK: torch.Tensor,
    teacher_logits_PK: torch.Tensor,
    *,
    temperature: float,
    scale_by_temperature_squared: bool,
) -> torch.Tensor:
    """Return half the sum of |p - q| at each position.

    It is finite whatever either model rules out. Its gradient shrinks with the temperature
    itself, not with its square: scaled, it grows with the temperature (a derivation of ours).

    Returns:
        From 0 to 1 before scaling, shape [P], in float32 (float64 for float64 student logits).

    Raises:
        ValueError: The two models do not score the same positions and classes.
    """
    log_q_PK, log_p_PK = _log_probs(student_logits_PK, teacher_logits_PK, temperature)
    values_P = (log_p_PK.exp() - log_q_PK.exp()).abs().sum(dim=-1) / 2
    return _scaled(values_P, temperature, scale=scale_by_temperature_squared)


def taid(
    student_logits_PK: torch.Tensor,
    teacher_logits_PK: torch.Tensor,
    *,
    temperature: float,
    scale_by_temperature_squared: bool,
    mix: float,
) -> torch.Tensor:
    """Return KL(target || student) with a target between student and teacher.

    The target's logits are (1 - mix) times those of the student, held constant, plus mix times
    those of the teacher (Shing et al., 2025, TAID; the temperature, which divides target and
    student, is ours). mix = 0 is no loss at all and 1 is forward KL; between, the target rules
    out what either model does, and is the teacher where that is every class.

    Returns:
        Nats, shape [P], in float32 (float64 for float64 student logits).

    Raises:
        ValueError: The two models do not score the same positions and classes.
    """
    require_one_shape(student_logits_PK, teacher_logits_PK)
    return forward_kl(
        student_logits_PK,
        _between(widened(student_logits_PK.detach()), widened(teacher_logits_PK), mix),
        temperature=temperature,
        scale_by_temperature_squared=scale_by_temperature_squared,
    )


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
    require_one_shape(student_logits_PK, teacher_logits_PK)
    difference_PK = widened(student_logits_PK) - widened(teacher_logits_PK.detach())
    return difference_PK.square().mean(dim=-1)


def log_mixture(
    log_p_PK: torch.Tensor, log_q_PK: torch.Tensor, *, share_of_p: float
) -> torch.Tensor:
    """Return the log of share_of_p * p + (1 - share_of_p) * q.

    Where p = q the result is that very number, which log-sum-exp of weighted terms misses by
    a rounding error: divergences from the mixture are exactly zero there.

    Args:
        log_p_PK: Log probabilities; a class that they rule out needs no gradient into them.
        log_q_PK: Log probabilities of the same classes.
        share_of_p: From 0 (q itself) up to, but not including, 1.

    Raises:
        ValueError: The share is outside this range.
    """
    if not 0 <= share_of_p < 1:
        message = f"the share of a mixture must be in [0, 1), got {share_of_p}"
        raise ValueError(message)
    if share_of_p == 0:
        return log_q_PK
    # Relative to the larger of the two: exp of a positive difference could overflow. Ruled out
    # by p counts as q being the larger, whether or not q rules it out too.
    log_ratio_PK = (log_q_PK - log_p_PK).where(log_p_PK > -torch.inf, torch.inf)
    above_p_PK = (1 - share_of_p) * log_ratio_PK.clamp(max=0).expm1()
    above_q_PK = share_of_p * (-log_ratio_PK).clamp(max=0).expm1()
    return torch.where(
        log_ratio_PK <= 0, log_p_PK + above_p_PK.log1p(), log_q_PK + above_q_PK.log1p()
    )


def _log_probs(
    student_logits_PK: torch.Tensor, teacher_logits_PK: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return log q and log p, the second without gradient."""
    require_one_shape(student_logits_PK, teacher_logits_PK)
    student_log_probs_PK = _softened_log_probs(student_logits_PK, temperature)
    teacher_log_probs_PK = _softened_log_probs(teacher_logits_PK.detach(), temperature)
    return student_log_probs_PK, teacher_log_probs_PK


def _softened_log_probs(logits_PK: torch.Tensor, temperature: float) -> torch.Tensor:
    logits_PK = widened(logits_PK)
    # A pass over a vocabulary that changes nothing costs as much as one that does.
    return F.log_softmax(logits_PK if temperature == 1 else logits_PK / temperature, dim=-1)


def _scaled(values_P: torch.Tensor, temperature: float, *, scale: bool) -> torch.Tensor:
    return values_P * temperature**2 if scale else values_P


def _between(student_PK: torch.Tensor, teacher_PK: torch.Tensor, mix: float) -> torch.Tensor:
    """Return the logits on the way from student to teacher; where they agree, those."""
    if mix <= 0:
        return student_PK
    if mix >= 1:
        return teacher_PK
    # lerp is student + mix (teacher - student): NaN where the student's logit is -inf.
    is_ruled_out_PK = (student_PK == -torch.inf) | (teacher_PK == -torch.inf)
    between_PK = torch.lerp(student_PK, teacher_PK.to(student_PK), mix)
    between_PK = between_PK.masked_fill(is_ruled_out_PK, -torch.inf)
    return torch.where(is_ruled_out_PK.all(dim=-1, keepdim=True), teacher_PK, between_PK)
