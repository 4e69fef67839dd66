"""From the losses section of a run to the weighted terms on logits and labels."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from raykd.config.schedule import Schedule, parse_schedule
from raykd.config.schema.losses import LossesConfig
from raykd.losses import divergences
from raykd.losses.derivative import Loss, gradient
from raykd.losses.softened import Logits
from raykd.losses.weighted_sums import Measured, with_masks_if_needed

_LOSSES: dict[str, Callable[..., Loss]] = {
    "cross_entropy": divergences.cross_entropy,
    "squared_error": divergences.squared_error,
    "forward_kl": divergences.forward_kl,
    "reverse_kl": divergences.reverse_kl,
    "jensen_shannon": divergences.jensen_shannon,
    "skewed_kl": divergences.skewed_kl,
    "total_variation": divergences.total_variation,
    "logit_mse": divergences.logit_mse,
    "taid": divergences.taid,
}
"""By section; a key of the section, but for its weight, is an argument of that name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LossTerm:
    """One weighted summand of the objective that looks at scored positions."""

    name: str
    """Its section in the configuration, and its name in the metrics."""

    weight: Schedule
    """Multiplier at each progress of the run."""

    loss: Callable[..., Loss]
    """From the student's logits, what they are compared with and the settings to the unweighted
    value at each scored position."""

    settings: Mapping[str, Any]
    """By name; some are schedules."""

    needs_teacher: bool
    """Whether it compares with the logits of teachers, one after the other, and not with the
    labels [P]."""

    def settings_at(self, progress: float) -> dict[str, Any]:
        """Return the settings at a progress of the run, from 0 to 1."""
        return {
            name: value.at(progress) if isinstance(value, Schedule) else value
            for name, value in self.settings.items()
        }

    def per_position(
        self, student_PK: torch.Tensor, target: torch.Tensor, **settings: Any
    ) -> torch.Tensor:
        """Return the unweighted values [P], whose gradient is the closed form.

        Args:
            student_PK: Logits of the model that learns.
            target: Logits [P, K] of a teacher, or labels [P].
            settings: By name.
        """

        def loss(student: Logits) -> Loss:
            of_term = student.like(target) if self.needs_teacher else target
            return self.loss(student, of_term, **settings)

        return per_position(student_PK, loss)


def per_position(student_PK: torch.Tensor, loss: Callable[[Logits], Loss]) -> torch.Tensor:
    """Return the values [P] of a loss as autograd knows them."""

    def measure(*, masked: bool) -> Measured:
        student = Logits(student_PK, masked=masked)
        found = loss(student)
        return found.values_P, gradient([(found, 1.0)], student)

    values_P: torch.Tensor = _PerPosition.apply(student_PK, measure)  # type: ignore[no-untyped-call]
    return values_P


class _PerPosition(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, student_PK: torch.Tensor, measure: Callable[..., Measured]
    ) -> torch.Tensor:
        values_P, gradient_PK = with_masks_if_needed(measure, student_PK.device)
        ctx.save_for_backward(gradient_PK.to(student_PK.dtype))
        return values_P

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream_P: torch.Tensor) -> tuple[torch.Tensor, None]:
        (gradient_PK,) = ctx.saved_tensors
        return gradient_PK * upstream_P.unsqueeze(-1).to(gradient_PK), None


def build_terms(config: LossesConfig) -> tuple[LossTerm, ...]:
    """Return the terms on logits and labels whose sections are present, in the schema's order.

    To add one: write its function in raykd/losses/divergences.py, its section in
    raykd/config/schema/losses.py, and its line in ``_LOSSES``.

    Args:
        config: The sections.

    Raises:
        ValueError: A weight or another schedule is none.
    """
    terms = []
    for name in config.present:
        if (loss := _LOSSES.get(name)) is None:
            continue
        settings = _settings(getattr(config, name))
        terms.append(
            LossTerm(
                name=name,
                weight=settings.pop("weight"),
                loss=loss,
                settings=settings,
                needs_teacher=name in config.teacher_terms,
            )
        )
    return tuple(terms)


def _settings(section: Any) -> dict[str, Any]:
    values = {field.name: getattr(section, field.name) for field in fields(section)}
    return {
        name: parse_schedule(value) if isinstance(value, str) else value
        for name, value in values.items()
    }
