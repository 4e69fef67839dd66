"""From the losses section of a run to the weighted terms on logits and labels."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch

from raykd.config.schedule import Schedule, parse_schedule
from raykd.config.schema.losses import LossesConfig
from raykd.losses import divergences

_LOSSES: dict[str, Callable[..., torch.Tensor]] = {
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

    per_position: Callable[..., torch.Tensor]
    """From the student's logits [P, K], what they are compared with and the settings to the
    unweighted value at each scored position."""

    settings: Mapping[str, Any]
    """By name; some are schedules."""

    needs_teacher: bool
    """Whether it compares with the logits [P, K] of teachers, one after the other, and not with
    the labels [P]."""

    def settings_at(self, progress: float) -> dict[str, Any]:
        """Return the settings at a progress of the run, from 0 to 1."""
        return {
            name: value.at(progress) if isinstance(value, Schedule) else value
            for name, value in self.settings.items()
        }


def build_terms(config: LossesConfig, *, compiled: bool = False) -> tuple[LossTerm, ...]:
    """Return the terms on logits and labels whose sections are present, in the schema's order.

    To add one: write its function in raykd/losses/divergences.py, its section in
    raykd/config/schema/losses.py, and its line in ``_LOSSES``.

    Args:
        config: The sections.
        compiled: Run each by torch.compile: on a GPU, where every pass over a vocabulary counts.

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
                # Compiled once for all sizes and temperatures.
                per_position=torch.compile(loss, dynamic=True) if compiled else loss,
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
