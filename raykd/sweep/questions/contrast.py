"""A question as arithmetic: a weighted sum of arms, the same for every seed."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """What is taken of a run: one number."""

    metric: str
    mode: Literal["min", "max"]
    """Whether less or more of the number is better."""

    at: float = 1.0
    """Fraction of the run's steps: the first evaluation there or past it counts."""

    steps_to: float | None = None
    """Where given, the number is the steps until the metric is as good as this."""

    area: bool = False
    """Where set, the number is the mean of the metric over all steps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmWeight:
    """One arm of the sum."""

    arm: str
    """Arm of the records, see ``raykd.sweep.ledger.Record.arm``."""

    weight: float
    measure: Measure


@dataclass(frozen=True, kw_only=True, slots=True)
class Contrast:
    """What a question asks about: for each seed, the sum of the arms' weighted numbers."""

    weights: tuple[ArmWeight, ...]
    """Each arm and measure once, none of them with weight 0."""

    minus: float = 0.0
    """The number that is taken off the sum."""

    mode: Literal["min", "max"]
    """Whether less or more of the sum is better."""
