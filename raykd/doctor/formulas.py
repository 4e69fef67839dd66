"""The terms on logits as their papers write them, in float64 and without a care for speed.

Written a second time on purpose, with probabilities where raykd has log probabilities.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from raykd.config.schema.losses import (
    ForwardKLConfig,
    JensenShannonConfig,
    LogitMSEConfig,
    LossesConfig,
    ReverseKLConfig,
    SkewedKLConfig,
    TAIDConfig,
    TotalVariationConfig,
)

_BETA, _SKEW, _MIX = 0.3, 0.2, 0.4


@dataclass(frozen=True, kw_only=True, slots=True)
class Formula:
    """One divergence."""

    losses: Callable[[str], LossesConfig]
    """From a temperature to the section of a run."""

    values: Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]
    """(student_logits_PK, teacher_logits_PK, temperature) to values [P]; all float64."""

    limit: float | None
    """As the temperature rises, the gradient tends to this times the centred difference of the
    logits, divided by K (Hinton et al., 2015, equation 4; the factors of the others are our
    derivation). None: it depends on the temperature, or there is none."""

    is_of_probabilities: bool = True
    """Whether logits count up to a constant."""


def _scaled(
    of_probabilities: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]:
    def values(
        student_PK: torch.Tensor, teacher_PK: torch.Tensor, temperature: float
    ) -> torch.Tensor:
        p_PK = (teacher_PK / temperature).softmax(dim=-1)
        q_PK = (student_PK / temperature).softmax(dim=-1)
        # Soft targets' gradients shrink with the square (Hinton et al., 2015, section 2).
        return temperature**2 * of_probabilities(p_PK, q_PK)

    return values


def _kl(p_PK: torch.Tensor, q_PK: torch.Tensor) -> torch.Tensor:
    return (p_PK * (p_PK / q_PK).log()).sum(dim=-1)


def _jensen_shannon(p_PK: torch.Tensor, q_PK: torch.Tensor) -> torch.Tensor:
    m_PK = _BETA * p_PK + (1 - _BETA) * q_PK
    return _BETA * _kl(p_PK, m_PK) + (1 - _BETA) * _kl(q_PK, m_PK)


def _taid(student_PK: torch.Tensor, teacher_PK: torch.Tensor, temperature: float) -> torch.Tensor:
    target_PK = (1 - _MIX) * student_PK.detach() + _MIX * teacher_PK
    return _scaled(_kl)(student_PK, target_PK, temperature)


FORMULAS: dict[str, Formula] = {
    "forward_kl": Formula(
        losses=lambda t: LossesConfig(forward_kl=ForwardKLConfig(temperature=t)),
        values=_scaled(_kl),
        limit=1.0,
    ),
    "reverse_kl": Formula(
        losses=lambda t: LossesConfig(reverse_kl=ReverseKLConfig(temperature=t)),
        values=_scaled(lambda p_PK, q_PK: _kl(q_PK, p_PK)),
        limit=1.0,
    ),
    "jensen_shannon": Formula(
        losses=lambda t: LossesConfig(
            jensen_shannon=JensenShannonConfig(temperature=t, beta=_BETA)
        ),
        values=_scaled(_jensen_shannon),
        limit=_BETA * (1 - _BETA),
    ),
    "skewed_kl": Formula(
        losses=lambda t: LossesConfig(skewed_kl=SkewedKLConfig(temperature=t, skew=_SKEW)),
        values=_scaled(lambda p_PK, q_PK: _kl(p_PK, _SKEW * p_PK + (1 - _SKEW) * q_PK)),
        limit=(1 - _SKEW) ** 2,
    ),
    "total_variation": Formula(
        losses=lambda t: LossesConfig(
            total_variation=TotalVariationConfig(temperature=t, scale_by_temperature_squared=True)
        ),
        values=_scaled(lambda p_PK, q_PK: (p_PK - q_PK).abs().sum(dim=-1) / 2),
        limit=None,
    ),
    "logit_mse": Formula(
        losses=lambda _: LossesConfig(logit_mse=LogitMSEConfig()),
        values=lambda student_PK, teacher_PK, _: (student_PK - teacher_PK).square().mean(dim=-1),
        limit=None,
        is_of_probabilities=False,
    ),
    "taid": Formula(
        losses=lambda t: LossesConfig(taid=TAIDConfig(temperature=t, mix=str(_MIX))),
        values=_taid,
        limit=_MIX,
    ),
}
"""By the name of the term; every term that compares logits is here."""
