"""How several teachers are weighted, and how what one says is kept.

One optional section per way of weighting them. In every way the weights of a scored position sum
to 1, over the teachers that serve its language, or are all 0: then the true label alone trains it.
"""

from dataclasses import dataclass, fields
from typing import Literal

from raykd.config.schedule import parse_schedule
from raykd.config.schema.losses import LossesConfig

SPARSE_MODES = ("top_k", "sampled")
"""Modes of a cache that keep some classes of a position only."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheConfig:
    """A teacher's outputs, computed once and kept for every run that asks for the same."""

    mode: Literal["auto", "logits", "hidden", "top_k", "sampled"] = "auto"
    """logits: all scores, for classes. hidden: what the last linear map of a vocabulary's head
    reads, and that map once. top_k: the likeliest tokens, and the rest of the probability as one
    bucket. sampled: tokens drawn from the teacher. auto: the smallest of them whose gradient is
    within max_gradient_error, measured before anything is written."""

    precision: Literal["exact", "float16", "int8"] | None = None
    """Number format of what logits or hidden keep: exact is the teacher's own. int8 is for hidden,
    with a factor for each position. null is exact for logits and float16 for hidden."""

    top_k: int = 64
    """Tokens of a position that top_k keeps."""

    num_draws: int = 64
    """Tokens that sampled draws for a position."""

    max_gradient_error: float = 0.02
    """Relative error of the gradient, with respect to a student's logits, that auto accepts."""

    uri: str | None = None
    """Directory of caches, where the data's place cannot be written; null is the folder cache
    beside the prepared data."""

    def problems(self, key: str, *, task: str, losses: LossesConfig) -> list[str]:
        """Return every reason the cache cannot serve a run, each naming its key.

        Args:
            key: Where the section stands in the run.
            task: What the run learns.
            losses: The run's objective.
        """
        problems = [
            f"{key}.{name} must be >= 1, got {value}"
            for name in ("top_k", "num_draws")
            if (value := getattr(self, name)) < 1
        ]
        if self.max_gradient_error <= 0:
            problems.append(f"{key}.max_gradient_error must be > 0, got {self.max_gradient_error}")
        if self.mode not in ("auto", "logits") and not task.endswith("_lm"):
            problems.append(
                f"{key}.mode={self.mode} is for vocabularies, got task={task}: use logits, which "
                "keeps all scores"
            )
        if self.precision is not None and self.mode not in ("logits", "hidden"):
            problems.append(f"{key}.precision is for the modes logits and hidden, got {self.mode}")
        if self.precision == "int8" and self.mode == "logits":
            problems.append(f"{key}.precision=int8 is for the mode hidden, got logits")
        return [*problems, *self._sparse_problems(key, losses)]

    def _sparse_problems(self, key: str, losses: LossesConfig) -> list[str]:
        if self.mode not in SPARSE_MODES:
            return []
        return [f"{key}.mode={self.mode}: {reason}" for reason in against_sparse(losses)]


def against_sparse(losses: LossesConfig) -> list[str]:
    """Return why the terms of a run cannot be computed from some classes of a position only."""
    # The sum of p log(p / q) has p in every summand: classes that the teacher finds unlikely
    # hardly count, and stand together as one. Other divergences weigh by the student's q as well.
    on_logits = [name for name in losses.teacher_terms if name not in losses.layer_terms]
    reasons = [
        f"losses.{name} needs all scores, which only forward_kl does not: use the mode hidden"
        for name in on_logits
        if name != "forward_kl"
    ]
    if losses.forward_kl is not None:
        try:
            temperatures = set(parse_schedule(losses.forward_kl.temperature).values)
        except ValueError:
            temperatures = {1.0}  # told of the schedule itself
        # Softening by another temperature needs the sum over all classes again.
        if temperatures != {1.0}:
            reasons.append(
                "the probabilities that are kept are those at temperature 1, but "
                f"losses.forward_kl.temperature is {losses.forward_kl.temperature!r}: use the "
                "mode hidden"
            )
    return reasons


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

    @property
    def is_by_score(self) -> bool:
        """Whether the weights depend on what the teachers score."""
        return (self.importance, self.max_margin, self.entropy) != (None, None, None)

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
