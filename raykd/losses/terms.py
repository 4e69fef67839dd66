"""From the losses section of a run to the weighted terms of its objective."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from raykd.config.schedule import Schedule, parse_schedule
from raykd.config.schema.losses import (
    CrossEntropyConfig,
    ForwardKLConfig,
    LogitMSEConfig,
    LossesConfig,
)
from raykd.losses.cross_entropy import cross_entropy
from raykd.losses.divergences import forward_kl, logit_mse

PerPositionLoss = Callable[
    [torch.Tensor, torch.Tensor | None, torch.Tensor, float],
    torch.Tensor,
]
"""(student_logits_PK, teacher_logits_PK or None, labels_P, progress) to values of shape [P]."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LossTerm:
    """One weighted summand of the objective."""

    name: str
    """Its section in the configuration, and its name in the metrics."""

    weight: Schedule
    """Multiplier at each progress of the run."""

    per_position: PerPositionLoss
    """The unweighted value at each scored position; progress runs from 0 to 1."""

    needs_teacher: bool
    """Whether it compares the student with a teacher."""


def build_terms(config: LossesConfig) -> tuple[LossTerm, ...]:
    """Return the terms whose sections are present, in the order of the schema.

    To add a term: write its function in raykd/losses, its section in
    raykd/config/schema/losses.py, and its paragraph here.

    Raises:
        ValueError: A weight or a temperature is not a schedule.
    """
    terms = []
    if config.cross_entropy is not None:
        terms.append(_cross_entropy_term(config.cross_entropy))
    if config.forward_kl is not None:
        terms.append(_forward_kl_term(config.forward_kl))
    if config.logit_mse is not None:
        terms.append(_logit_mse_term(config.logit_mse))
    return tuple(terms)


def _cross_entropy_term(config: CrossEntropyConfig) -> LossTerm:
    return LossTerm(
        name="cross_entropy",
        weight=parse_schedule(config.weight),
        per_position=lambda student_logits_PK, _teacher, labels_P, _progress: cross_entropy(
            student_logits_PK, labels_P
        ),
        needs_teacher=False,
    )


def _forward_kl_term(config: ForwardKLConfig) -> LossTerm:
    temperature = parse_schedule(config.temperature)
    return LossTerm(
        name="forward_kl",
        weight=parse_schedule(config.weight),
        per_position=lambda student_logits_PK, teacher_logits_PK, _labels, progress: forward_kl(
            student_logits_PK,
            _present(teacher_logits_PK, "forward_kl"),
            temperature=temperature.at(progress),
            scale_by_temperature_squared=config.scale_by_temperature_squared,
        ),
        needs_teacher=True,
    )


def _logit_mse_term(config: LogitMSEConfig) -> LossTerm:
    return LossTerm(
        name="logit_mse",
        weight=parse_schedule(config.weight),
        per_position=lambda student_logits_PK, teacher_logits_PK, _labels, _progress: logit_mse(
            student_logits_PK, _present(teacher_logits_PK, "logit_mse")
        ),
        needs_teacher=True,
    )


def _present(teacher_logits_PK: torch.Tensor | None, term: str) -> torch.Tensor:
    if teacher_logits_PK is None:
        message = f"losses.{term} compares with a teacher, but got no teacher logits"
        raise ValueError(message)
    return teacher_logits_PK
