"""From the losses section of a run to the weighted terms on logits and labels."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from raykd.config.schedule import Schedule, parse_schedule
from raykd.config.schema.losses import LossesConfig, TAIDConfig
from raykd.losses import divergences
from raykd.losses.cross_entropy import cross_entropy

PerPositionLoss = Callable[
    [torch.Tensor, torch.Tensor | None, torch.Tensor, float],
    torch.Tensor,
]
"""(student_logits_PK, teacher_logits_PK or None, labels_P, progress) to values of shape [P]."""

Divergence = Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]
"""(student_logits_PK, teacher_logits_PK, progress) to values of shape [P]."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LossTerm:
    """One weighted summand of the objective that looks at scored positions."""

    name: str
    """Its section in the configuration, and its name in the metrics."""

    weight: Schedule
    """Multiplier at each progress of the run."""

    per_position: PerPositionLoss
    """The unweighted value at each scored position; progress runs from 0 to 1."""

    needs_teacher: bool
    """Whether it compares the student with teachers, one after the other."""


def build_terms(config: LossesConfig, *, compiled: bool = False) -> tuple[LossTerm, ...]:
    """Return the terms on logits and labels whose sections are present, in the schema's order.

    To add one: write its function in raykd/losses, its section in
    raykd/config/schema/losses.py, and its line in ``_divergences``.

    Args:
        config: The sections.
        compiled: Run each by torch.compile: on a GPU, where every pass over a vocabulary counts.

    Raises:
        ValueError: A weight or a temperature is not a schedule.
    """
    terms = []
    if config.cross_entropy is not None:
        terms.append(_cross_entropy_term(config.cross_entropy.weight, compiled=compiled))
    terms += [
        LossTerm(
            name=name,
            weight=parse_schedule(getattr(config, name).weight),
            per_position=_of_teacher(name, divergence),
            needs_teacher=True,
        )
        for name, divergence in _divergences(config, compiled=compiled).items()
    ]
    return tuple(terms)


def _cross_entropy_term(weight: str, *, compiled: bool) -> LossTerm:
    function = _made(cross_entropy, compiled=compiled)
    return LossTerm(
        name="cross_entropy",
        weight=parse_schedule(weight),
        per_position=lambda student_logits_PK, _teacher, labels_P, _progress: function(
            student_logits_PK, labels_P
        ),
        needs_teacher=False,
    )


def _of_teacher(name: str, divergence: Divergence) -> PerPositionLoss:
    def per_position(
        student_logits_PK: torch.Tensor,
        teacher_logits_PK: torch.Tensor | None,
        _labels_P: torch.Tensor,
        progress: float,
    ) -> torch.Tensor:
        if teacher_logits_PK is None:
            message = f"losses.{name} compares with a teacher, but got no teacher logits"
            raise ValueError(message)
        return divergence(student_logits_PK, teacher_logits_PK, progress)

    return per_position


def _made(function: Callable[..., torch.Tensor], *, compiled: bool) -> Callable[..., torch.Tensor]:
    """Return a function as it is, or to be compiled once for all sizes and temperatures."""
    return torch.compile(function, dynamic=True) if compiled else function


def _divergences(config: LossesConfig, *, compiled: bool) -> dict[str, Divergence]:
    """Return the divergences whose sections are present."""
    made = partial(_made, compiled=compiled)
    makers: dict[str, Callable[[Any], Divergence]] = {
        "forward_kl": lambda section: _softened(made(divergences.forward_kl), section),
        "reverse_kl": lambda section: _softened(made(divergences.reverse_kl), section),
        "jensen_shannon": lambda section: _softened(
            partial(made(divergences.jensen_shannon), beta=section.beta), section
        ),
        "skewed_kl": lambda section: _softened(
            partial(made(divergences.skewed_kl), skew=section.skew), section
        ),
        "total_variation": lambda section: _softened(made(divergences.total_variation), section),
        "logit_mse": lambda _: _of_logits(made(divergences.logit_mse)),
        "taid": lambda section: _taid(made(divergences.taid), section),
    }
    return {name: makers[name](getattr(config, name)) for name in config.present if name in makers}


def _softened(divergence: Callable[..., torch.Tensor], section: Any) -> Divergence:
    """Bind what all divergences between softened distributions are set by."""
    temperature = parse_schedule(section.temperature)
    return lambda student_PK, teacher_PK, progress: divergence(
        student_PK,
        teacher_PK,
        temperature=temperature.at(progress),
        scale_by_temperature_squared=section.scale_by_temperature_squared,
    )


def _of_logits(divergence: Callable[..., torch.Tensor]) -> Divergence:
    return lambda student_PK, teacher_PK, _: divergence(student_PK, teacher_PK)


def _taid(divergence: Callable[..., torch.Tensor], section: TAIDConfig) -> Divergence:
    mix = parse_schedule(section.mix)
    return lambda student_PK, teacher_PK, progress: _softened(
        partial(divergence, mix=mix.at(progress)), section
    )(student_PK, teacher_PK, progress)
