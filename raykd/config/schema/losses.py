"""The training objective: a weighted sum of the terms that are present."""

from dataclasses import dataclass

from raykd.config.schedule import schedule_problems


@dataclass(frozen=True, kw_only=True, slots=True)
class CrossEntropyConfig:
    """Cross entropy of the student against the true labels."""

    weight: str = "1"
    """Multiplier in the total loss: a number or a schedule such as '4 -> 1'."""


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
class LogitMSEConfig:
    """Squared difference of student's and teacher's logits, averaged over the classes.

    It has no temperature: dividing both logits by t and multiplying by t squared cancel.
    """

    weight: str = "1"
    """Multiplier in the total loss: a number or a schedule such as '4 -> 1'."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LossesConfig:
    """One optional section per term: a present section is an active term."""

    cross_entropy: CrossEntropyConfig | None = None
    forward_kl: ForwardKLConfig | None = None
    logit_mse: LogitMSEConfig | None = None

    @property
    def teacher_terms(self) -> list[str]:
        """Names of the active terms that compare the student with a teacher."""
        terms = {"forward_kl": self.forward_kl, "logit_mse": self.logit_mse}
        return [name for name, term in terms.items() if term is not None]

    def problems(self) -> list[str]:
        """Return every reason this section cannot run, each naming its key."""
        found = []
        names = [*(["cross_entropy"] if self.cross_entropy else []), *self.teacher_terms]
        if not names:
            found.append("losses is empty: add a section such as losses.cross_entropy={}")
        for name in names:
            weight = getattr(self, name).weight
            found += schedule_problems(f"losses.{name}.weight", weight, minimum=0)
        if self.forward_kl is not None:
            key = "losses.forward_kl.temperature"
            found += schedule_problems(key, self.forward_kl.temperature, minimum=0, exclusive=True)
        return found
