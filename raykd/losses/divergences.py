"""How far the student is from the labels, or from the teacher, at each scored position.

Every loss takes the student first and returns one non-negative value per position with its
derivative in closed form: no graph is kept of tensors as large as a vocabulary. Those on a teacher
are zero where the models agree.

With p and q the softmax of teacher and student logits divided by the temperature, a divergence D
between them pulls at the student's probabilities by -dD/dlog q of each class; its derivative in
the logits divided by the temperature is q times the sum of all pulls, minus the pull. Forward KL
pulls by p itself. ``softened`` adds the settings that all divergences share:

    temperature                    divides both logits; above 1 it lifts the unlikely classes
    scale_by_temperature_squared   multiply by the square of the temperature, so that the size
                                   of the gradient does not depend on it

A class that both models rule out (logit -inf) changes nothing. What happens where only one
does is said at each function; no gradient of the student is ever NaN.
"""

import functools
from collections.abc import Callable
from dataclasses import replace

import torch

from raykd.losses.derivative import Loss
from raykd.losses.softened import Logits, Softened


def cross_entropy(
    student: Logits, labels_P: torch.Tensor, *, label_smoothing: float = 0.0
) -> Loss:
    """Return the cross entropy of the student against the labels at each position.

    Args:
        student: The model that learns.
        labels_P: The right class of each position, from 0 to K - 1.
        label_smoothing: Share of the target that is uniform over the K classes, in [0, 1)
            (Szegedy et al., 2016, section 7). A class that the student rules out then makes the
            value infinite.
    """
    q, labels_P1 = student.at(1.0), labels_P.unsqueeze(-1)
    values_P1 = q.log_total_P1 - q.shifted_PK.gather(-1, labels_P1)
    pull_11 = None
    if label_smoothing:
        even_P1 = q.log_total_P1 - q.shifted_PK.mean(dim=-1, keepdim=True)
        # Not lerp: NaN where both are infinite.
        values_P1 = (1 - label_smoothing) * values_P1 + label_smoothing * even_P1
        pull_11 = values_P1.new_full((1, 1), label_smoothing / q.probs_PK.shape[-1])
    return Loss(
        values_P=values_P1.squeeze(-1),
        softmax=q,
        pull_PK=pull_11,
        few=(labels_P1, torch.full_like(values_P1, 1 - label_smoothing)),
    )


def squared_error(student: Logits, labels_P: torch.Tensor) -> Loss:
    """Return the squared difference of the student's number and the true one at each position.

    Args:
        student: The number that the student predicts; K is 1.
        labels_P: The true number of each position.
    """
    difference_P1 = labels_P.unsqueeze(-1) - student.wide_PK
    return Loss(values_P=difference_P1.squeeze(-1).square(), pull_PK=difference_P1, factor=2.0)


def logit_mse(student: Logits, teacher: Logits) -> Loss:
    """Return the squared difference of the logits, averaged over the classes, per position.

    Args:
        student: The model that learns; its logits are finite.
        teacher: The model to imitate; its logits are finite.

    Raises:
        ValueError: The two models do not score the same positions and classes.
    """
    require_one_shape(student.logits_PK, teacher.logits_PK)
    difference_PK = teacher.wide_PK - student.wide_PK
    return Loss(
        values_P=difference_PK.square().mean(dim=-1),
        pull_PK=difference_PK,
        factor=2.0 / difference_PK.shape[-1],
    )


def softened(divergence: Callable[..., Loss]) -> Callable[..., Loss]:
    """Return a divergence between distributions as a loss of two models' logits.

    Args:
        divergence: From the softmax of the teacher, that of the student, and the settings of its
            own.
    """

    @functools.wraps(divergence)
    def loss(
        student: Logits,
        teacher: Logits,
        *,
        temperature: float,
        scale_by_temperature_squared: bool,
        **settings: float,
    ) -> Loss:
        require_one_shape(student.logits_PK, teacher.logits_PK)
        found = divergence(teacher.at(temperature), student.at(temperature), **settings)
        # Not by pow, of which torch.compile would make code for each temperature of a schedule.
        scale = temperature * temperature if scale_by_temperature_squared else 1.0
        if scale != 1:
            found = replace(found, values_P=found.values_P * scale)
        return replace(found, factor=scale / temperature)

    return loss


@softened
def forward_kl(p: Softened, q: Softened) -> Loss:
    """Return KL(teacher || student) at each position.

    The sum over classes of p (log p - log q) (Hinton et al., 2015, section 2). A class that
    only the teacher rules out contributes nothing; one that only the student rules out makes
    the value infinite, and the gradient stays finite.
    """
    return Loss(values_P=_kl(p, q), softmax=q, pull_PK=p.probs_PK)


@softened
def reverse_kl(p: Softened, q: Softened) -> Loss:
    """Return KL(student || teacher) at each position.

    The sum over classes of q (log q - log p): it seeks the teacher's modes (Gu et al., 2024,
    MiniLLM, section 2). A class that only the student rules out contributes nothing. One that
    only the teacher rules out makes the value infinite; the gradient is then that of a teacher
    who gives it the smallest normal number as probability, a choice of ours that pushes the
    class down by a finite step.
    """
    pull_PK = (p.log_probs_PK - q.log_probs_PK).mul_(q.probs_PK)
    return _of_pull(_kl(q, p), q, pull_PK)


@softened
def jensen_shannon(p: Softened, q: Softened, *, beta: float) -> Loss:
    """Return the generalised Jensen-Shannon divergence at each position.

    beta KL(p || m) + (1 - beta) KL(q || m) with m = beta p + (1 - beta) q (Agarwal et al.,
    2024, GKD, section 2), beta between 0 and 1; 0.5 is symmetric. Divided by beta it tends to
    KL(p || q) as beta goes to 0, divided by 1 - beta to KL(q || p) as beta goes to 1. It is
    finite whatever either model rules out, at most ln 2 before scaling.

    Raises:
        ValueError: Beta is negative or not below 1.
    """
    log_m_PK = _log_mixture(p, q, beta)
    of_p_P = (p.log_probs_PK - log_m_PK).mul_(p.probs_PK).sum(dim=-1)
    pull_PK = log_m_PK.sub_(q.log_probs_PK).mul_(q.probs_PK).mul_(1 - beta)
    values_P = beta * of_p_P.clamp(min=0) - pull_PK.sum(dim=-1).clamp(max=0)
    return _of_pull(values_P, q, pull_PK)


@softened
def skewed_kl(p: Softened, q: Softened, *, skew: float) -> Loss:
    """Return KL(teacher || mixture of teacher and student) at each position.

    KL(p || skew p + (1 - skew) q), at most -log(skew) before scaling, the skew in [0, 1) (Ko et
    al., 2024, DistiLLM, where it is 0.1). It is finite whatever either model rules out, unless
    the skew is 0: that is forward KL.

    Raises:
        ValueError: The skew is not in its range.
    """
    if skew == 0:
        return Loss(values_P=_kl(p, q), softmax=q, pull_PK=p.probs_PK)
    log_ratio_PK = p.log_probs_PK - _log_mixture(p, q, skew)
    values_P = (p.probs_PK * log_ratio_PK).sum(dim=-1).clamp(min=0)
    pull_PK = log_ratio_PK.exp_().mul_(q.probs_PK).mul_(1 - skew)
    return _of_pull(values_P, q, pull_PK)


@softened
def total_variation(p: Softened, q: Softened) -> Loss:
    """Return half the sum of |p - q| at each position, from 0 to 1 before scaling.

    It is finite whatever either model rules out. Its gradient shrinks with the temperature
    itself, not with its square: scaled, it grows with the temperature (a derivation of ours).
    """
    half_PK = (p.probs_PK - q.probs_PK).div_(2)
    values_P = half_PK.abs().sum(dim=-1)
    return _of_pull(values_P, q, half_PK.sign_().mul_(q.probs_PK).div_(2))


@softened
def taid(p: Softened, q: Softened, *, mix: float) -> Loss:
    """Return KL(target || student) with a target between student and teacher.

    The target's logits are (1 - mix) times those of the student, held constant, plus mix times
    those of the teacher (Shing et al., 2025, TAID; the temperature, which divides target and
    student, is ours). mix = 0 is no loss at all and 1 is forward KL; between, the target rules
    out what either model does, and is the teacher where that is every class.
    """
    if mix <= 0:
        return Loss(values_P=torch.zeros_like(q.log_total_P1).squeeze(-1))
    target = p
    if mix < 1:
        # Not lerp, for which torch.compile would make code for each mix of a schedule.
        between_PK = (p.shifted_PK - q.shifted_PK).mul_(mix).add_(q.shifted_PK)
        if q.masked:
            # NaN where the student's is -inf.
            is_seen_PK = (q.shifted_PK > -torch.inf) & (p.shifted_PK > -torch.inf)
            between_PK = between_PK.where(is_seen_PK, -torch.inf)
            is_some_P1 = is_seen_PK.any(dim=-1, keepdim=True)
            between_PK = between_PK.where(is_some_P1, p.shifted_PK)
        target = Logits(between_PK, masked=q.masked).at(1.0)
    return Loss(values_P=_kl(target, q), softmax=q, pull_PK=target.probs_PK)


def _of_pull(values_P: torch.Tensor, q: Softened, pull_PK: torch.Tensor) -> Loss:
    total_P1 = pull_PK.sum(dim=-1, keepdim=True)
    return Loss(values_P=values_P, softmax=q, total=total_P1, pull_PK=pull_PK)


def _kl(p: Softened, q: Softened) -> torch.Tensor:
    """Return KL(p || q), exactly zero where both are equal.

    It is infinite where q alone rules out a class.
    """
    of_exponents_P = (p.finite_PK - q.finite_PK).mul_(p.probs_PK).sum(dim=-1)
    values_P = of_exponents_P - (p.log_total_P1 - q.log_total_P1).squeeze(-1)
    # Rounding can take the sum below zero where both nearly agree.
    values_P = values_P.clamp(min=0)
    if not q.masked:
        return values_P
    is_infinite_P = ((p.probs_PK > 0) & (q.shifted_PK == -torch.inf)).any(dim=-1)
    return values_P.masked_fill(is_infinite_P, torch.inf)


def _log_mixture(p: Softened, q: Softened, share_of_p: float) -> torch.Tensor:
    """Return the log of share_of_p * p + (1 - share_of_p) * q.

    Where p = q the result is that very number, which log-sum-exp of weighted terms misses by
    a rounding error: divergences from the mixture are exactly zero there.
    """
    if not 0 <= share_of_p < 1:
        message = f"the share of a mixture must be in [0, 1), got {share_of_p}"
        raise ValueError(message)
    # Relative to the larger of the two: exp of a positive difference could overflow.
    log_ratio_PK = q.log_probs_PK - p.log_probs_PK
    # Filled there: a tensor that is made of numbers here is waited for.
    of_p, of_q = (log_ratio_PK.new_full((), share) for share in (share_of_p, 1 - share_of_p))
    shares_PK = torch.where(log_ratio_PK <= 0, of_q, of_p)
    smaller_PK = log_ratio_PK.abs_().neg_().expm1_().mul_(shares_PK).log1p_()
    return smaller_PK.add_(torch.maximum(p.log_probs_PK, q.log_probs_PK))


def require_one_shape(student: torch.Tensor, teacher: torch.Tensor) -> None:
    """Check that what is compared of two models has one shape.

    Raises:
        ValueError: It has not.
    """
    if student.shape != teacher.shape:
        message = (
            f"the student's {tuple(student.shape)} and the teacher's {tuple(teacher.shape)} "
            "must have one shape"
        )
        raise ValueError(message)
