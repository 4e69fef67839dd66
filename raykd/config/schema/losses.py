"""The training objective: a weighted sum of the terms that are present."""

from dataclasses import dataclass, fields

from raykd.config.schedule import parse_schedule, schedule_problems
from raykd.config.schema.layer_losses import (
    AttentionRelationsConfig,
    AttentionScoresConfig,
    HiddenStatesConfig,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class CrossEntropyConfig:
    """Cross entropy of the student against the true labels."""

    weight: str = "1"
    """Multiplier in the total loss: a number or a schedule such as '4 -> 1'."""

    label_smoothing: float = 0.0
    """Share of the target that is spread evenly over all classes, the true one too (Szegedy et
    al., 2016), from 0 to below 1. Evaluations score against the bare labels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SquaredErrorConfig:
    """Squared difference of the student's number and the true one, for data whose label is one."""

    weight: str = "1"
    """Multiplier in the total loss: a number or a schedule such as '4 -> 1'."""


LABEL_TERMS = ("cross_entropy", "squared_error")
"""Terms that compare the student with the labels: with classes, or with numbers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ForwardKLConfig:
    """KL(teacher || student) of the softened distributions (Hinton et al., 2015)."""

    weight: str = "1"
    """Multiplier in the total loss: a number or a schedule such as '4 -> 1'."""

    temperature: str = "1"
    """Divides both models' logits, higher is softer: a number or a schedule."""

    scale_by_temperature_squared: bool = True
    """Multiply by temperature squared, so that the gradient's size does not depend on it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReverseKLConfig:
    """KL(student || teacher) of the softened distributions: seeks the teacher's modes."""

    weight: str = "1"
    """Multiplier in the total loss: a number or a schedule such as '4 -> 1'."""

    temperature: str = "1"
    """Divides both models' logits, higher is softer: a number or a schedule."""

    scale_by_temperature_squared: bool = True
    """Multiply by temperature squared, so that the gradient's size does not depend on it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JensenShannonConfig:
    """Generalised Jensen-Shannon divergence between teacher and student (GKD)."""

    weight: str = "1"
    """Multiplier in the total loss: a number or a schedule such as '4 -> 1'."""

    temperature: str = "1"
    """Divides both models' logits, higher is softer: a number or a schedule."""

    scale_by_temperature_squared: bool = True
    """Multiply by temperature squared, so that the gradient's size does not depend on it."""

    beta: float = 0.5
    """The teacher's share of the mixture that both are compared with, between 0 and 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SkewedKLConfig:
    """KL(teacher || a mixture of teacher and student): bounded (DistiLLM)."""

    weight: str = "1"
    """Multiplier in the total loss: a number or a schedule such as '4 -> 1'."""

    temperature: str = "1"
    """Divides both models' logits, higher is softer: a number or a schedule."""

    scale_by_temperature_squared: bool = True
    """Multiply by temperature squared, so that the gradient's size does not depend on it."""

    # As in the paper (Ko et al., 2024).
    skew: float = 0.1
    """The teacher's share of the mixture; 0 is forward KL."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TotalVariationConfig:
    """Half the sum of the differences between the softened probabilities."""

    weight: str = "1"
    """Multiplier in the total loss: a number or a schedule such as '4 -> 1'."""

    temperature: str = "1"
    """Divides both models' logits, higher is softer: a number or a schedule."""

    scale_by_temperature_squared: bool = False
    """Multiply by temperature squared. The gradient shrinks with the temperature itself, not with
    its square: multiplied it grows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LogitMSEConfig:
    """Squared difference of student's and teacher's logits, averaged over the classes.

    It has no temperature: dividing both logits by t and multiplying by t squared cancel.
    """

    weight: str = "1"
    """Multiplier in the total loss: a number or a schedule such as '4 -> 1'."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TAIDConfig:
    """Forward KL towards a target on the way from the student's logits to the teacher's (TAID)."""

    weight: str = "1"
    """Multiplier in the total loss: a number or a schedule such as '4 -> 1'."""

    temperature: str = "1"
    """Divides target and student logits, higher is softer: a number or a schedule."""

    scale_by_temperature_squared: bool = True
    """Multiply by temperature squared, so that the gradient's size does not depend on it."""

    # As in the paper (Shing et al., 2025), which adapts the way in between.
    mix: str = "0.4 -> 1"
    """The teacher's share of the target's logits, between 0 and 1: a number or a schedule. It
    rises in TAID; for a weak teacher it may fall."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LossesConfig:
    """One optional section per term: a present section is an active term."""

    cross_entropy: CrossEntropyConfig | None = None
    squared_error: SquaredErrorConfig | None = None
    forward_kl: ForwardKLConfig | None = None
    reverse_kl: ReverseKLConfig | None = None
    jensen_shannon: JensenShannonConfig | None = None
    skewed_kl: SkewedKLConfig | None = None
    total_variation: TotalVariationConfig | None = None
    logit_mse: LogitMSEConfig | None = None
    taid: TAIDConfig | None = None
    hidden_states: HiddenStatesConfig | None = None
    attention_scores: AttentionScoresConfig | None = None
    attention_relations: AttentionRelationsConfig | None = None

    @property
    def present(self) -> list[str]:
        """Names of the active terms."""
        return [field.name for field in fields(self) if getattr(self, field.name) is not None]

    @property
    def teacher_terms(self) -> list[str]:
        """Names of the active terms that compare the student with a teacher."""
        return [name for name in self.present if name not in LABEL_TERMS]

    @property
    def layer_terms(
        self,
    ) -> dict[str, HiddenStatesConfig | AttentionScoresConfig | AttentionRelationsConfig]:
        """The active terms that compare what is inside the models, by name."""
        terms = {
            "hidden_states": self.hidden_states,
            "attention_scores": self.attention_scores,
            "attention_relations": self.attention_relations,
        }
        return {name: term for name, term in terms.items() if term is not None}

    def problems(self) -> list[str]:
        """Return every reason this section cannot run, each naming its key."""
        problems = []
        if not self.present:
            problems.append("losses is empty: add a section such as losses.cross_entropy={}")
        for name in self.present:
            term = getattr(self, name)
            problems += schedule_problems(f"losses.{name}.weight", term.weight, minimum=0)
            if hasattr(term, "temperature"):
                key = f"losses.{name}.temperature"
                problems += schedule_problems(key, term.temperature, minimum=0, exclusive=True)
        problems += self._share_problems()
        return [*problems, *(p for term in self.layer_terms.values() for p in term.problems())]

    def _share_problems(self) -> list[str]:
        problems = []
        if self.cross_entropy is not None and not 0 <= self.cross_entropy.label_smoothing < 1:
            value = self.cross_entropy.label_smoothing
            problems.append(f"losses.cross_entropy.label_smoothing must be in [0, 1), got {value}")
        if self.jensen_shannon is not None and not 0 < self.jensen_shannon.beta < 1:
            value = self.jensen_shannon.beta
            problems.append(
                f"losses.jensen_shannon.beta must be between 0 and 1, got {value}; at the ends it "
                "is zero: use forward_kl or reverse_kl"
            )
        if self.skewed_kl is not None and not 0 <= self.skewed_kl.skew < 1:
            problems.append(f"losses.skewed_kl.skew must be in [0, 1), got {self.skewed_kl.skew}")
        if self.taid is not None:
            # One problem for each key: a text that is no schedule has no largest value either.
            mix_problems = schedule_problems("losses.taid.mix", self.taid.mix, minimum=0)
            if not mix_problems and max(parse_schedule(self.taid.mix).values) > 1:
                mix_problems = [f"losses.taid.mix must be at most 1, got {self.taid.mix!r}"]
            problems += mix_problems
        return problems
