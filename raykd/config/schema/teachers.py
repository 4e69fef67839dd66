"""How several teachers share the say: one optional section per way of weighting them.

In every way the weights of a scored position sum to 1, over the teachers that serve its
language, or are all 0: then the true label alone trains it.
"""

from dataclasses import dataclass, fields
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class UniformWeightsConfig:
    """Every teacher counts alike."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FixedWeightsConfig:
    """Every teacher counts by a given weight."""

    weights: dict[str, float]
    """Teacher to weight; among the teachers of a position they are brought to the sum of 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ByLanguageConfig:
    """Every language follows one teacher."""

    teachers: dict[str, str]
    """Language to teacher."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportanceConfig:
    """Softmax over the teachers' margins on the true label (AMTSS, reconstructed).

    A margin is the probability of the true class minus the largest of another; a teacher whose
    margin is negative votes for a wrong class and counts nothing.
    """

    temperature: float = 0.5
    """Divides the margins, which lie between -1 and 1; lower favours the best teacher."""

    per: Literal["example", "language"] = "example"
    """example: the margin at each scored position; language: its mean over the positions of a
    language in data.eval_split, measured once when training starts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MaxMarginConfig:
    """The teacher with the largest margin on the true label counts alone, unless it is below 0."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EntropyConfig:
    """Softmax over the teachers' confidence: the negative entropy of what they predict."""

    temperature: float = 0.5
    """Divides the entropies, in nats; lower favours the most confident teacher."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TeacherWeightsConfig:
    """One optional section per way: exactly one is present."""

    uniform: UniformWeightsConfig | None = None
    fixed: FixedWeightsConfig | None = None
    by_language: ByLanguageConfig | None = None
    importance: ImportanceConfig | None = None
    max_margin: MaxMarginConfig | None = None
    entropy: EntropyConfig | None = None

    @property
    def is_measured(self) -> bool:
        """Whether the weights depend on how the teachers do on data.eval_split."""
        return self.importance is not None and self.importance.per == "language"

    def problems(self, teachers: list[str]) -> list[str]:
        """Return every reason this section cannot run with these teachers, naming its key."""
        present = [field.name for field in fields(self) if getattr(self, field.name) is not None]
        if len(present) != 1:
            names = ", ".join(field.name for field in fields(self))
            return [f"teacher_weights needs exactly one of {names}, got {present}"]
        return [
            *self._temperature_problems(),
            *self._fixed_problems(teachers),
            *self._language_problems(teachers),
        ]

    def _temperature_problems(self) -> list[str]:
        return [
            f"teacher_weights.{name}.temperature must be > 0, got {section.temperature}"
            for name in ("importance", "entropy")
            if (section := getattr(self, name)) is not None and section.temperature <= 0
        ]

    def _fixed_problems(self, teachers: list[str]) -> list[str]:
        if self.fixed is None:
            return []
        weights = self.fixed.weights
        if set(weights) != set(teachers):
            return [
                f"teacher_weights.fixed.weights must name the teachers {sorted(teachers)}, "
                f"got {sorted(weights)}"
            ]
        if min(weights.values()) < 0 or max(weights.values()) == 0:
            return [
                f"teacher_weights.fixed.weights must be >= 0 and not all 0, got {dict(weights)}"
            ]
        return []

    def _language_problems(self, teachers: list[str]) -> list[str]:
        if self.by_language is None:
            return []
        if unknown := sorted(set(self.by_language.teachers.values()) - set(teachers)):
            return [
                f"teacher_weights.by_language.teachers names {unknown}, but the teachers are "
                f"{sorted(teachers)}"
            ]
        return []
