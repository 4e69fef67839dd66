"""The teachers, the student, and how the student's weights start."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class TeacherConfig:
    """A frozen model to imitate."""

    model: str
    """Hub name, local directory, or URI of a run or of one of its checkpoints."""

    revision: str | None = None
    """Branch, tag or commit of a Hub model."""

    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Precision of the teacher's weights and forward pass; it is never trained."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArchitectureConfig:
    """A model built from its configuration.

    What is null is as in the first teacher, or the family's default where model_type is given.
    """

    model_type: str | None = None
    """Family, such as bert, roberta, distilbert, deberta-v2, modernbert, gpt2, llama, qwen3;
    null takes the architecture of the first teacher."""

    num_layers: int | None = None
    """Transformer layers."""

    hidden_size: int | None = None
    """Width of a layer."""

    num_heads: int | None = None
    """Attention heads; the hidden size must be a multiple."""

    intermediate_size: int | None = None
    """Width of the feed-forward block."""

    dropout: float | None = None
    """Every dropout probability of the family."""

    settings: dict[str, int | float | bool | str] = field(default_factory=dict)
    """Any other field of the family's transformers configuration."""

    def problems(self) -> list[str]:
        """Return every reason this section cannot run, each naming its key."""
        found = [
            f"student.architecture.{name} must be >= 1, got {value}"
            for name in ("num_layers", "hidden_size", "num_heads", "intermediate_size")
            if (value := getattr(self, name)) is not None and value < 1
        ]
        if self.dropout is not None and not 0 <= self.dropout < 1:
            found.append(f"student.architecture.dropout must be in [0, 1), got {self.dropout}")
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class CopyLayersConfig:
    """Copy whole layers of a source model into the student; widths must match."""

    source: str | None = None
    """Hub name, directory or URI of the model to copy; null copies the first teacher."""

    pattern: Literal["even", "first", "last", "spread"] = "even"
    """even: every k-th layer and the last (layer 2i of a teacher twice as deep, counted from
    1, as in The Privileged Students); first, last: as many from that end; spread: evenly,
    the first and the last included."""

    layers: tuple[int, ...] | None = None
    """Source layer of each student layer, counted from 0; replaces the pattern."""

    parts: tuple[Literal["embeddings", "encoder", "head"], ...] = ("embeddings", "encoder", "head")
    """What is copied; the rest starts at random."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InitConfig:
    """One optional section per method: exactly one is present."""

    copy_layers: CopyLayersConfig | None = None

    def problems(self) -> list[str]:
        """Return every reason this section cannot run, each naming its key."""
        if self.copy_layers is None:
            return ["student.init needs exactly one method, such as copy_layers: {}"]
        copied = self.copy_layers
        found = []
        if not copied.parts:
            found.append("student.init.copy_layers.parts is empty: name at least one part")
        if copied.layers is not None and (not copied.layers or min(copied.layers) < 0):
            found.append(
                "student.init.copy_layers.layers must be source layers counted from 0, got "
                f"{list(copied.layers)}"
            )
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class StudentConfig:
    """The model that is trained."""

    pretrained: str | None = None
    """Hub name, local directory, or URI of a run or of one of its checkpoints to start from."""

    revision: str | None = None
    """Branch, tag or commit of a Hub model."""

    architecture: ArchitectureConfig | None = None
    """What to build where nothing pretrained is named."""

    init: InitConfig | None = None
    """How the weights of a built model start; null starts at random."""

    def problems(self) -> list[str]:
        """Return every reason this section cannot run, each naming its key."""
        found = [
            *(self.init.problems() if self.init else []),
            *(self.architecture.problems() if self.architecture else []),
        ]
        if (self.pretrained is None) == (self.architecture is None):
            found.append("student needs exactly one of pretrained and architecture")
        if self.revision is not None and self.pretrained is None:
            found.append(f"student.revision ({self.revision}) needs student.pretrained")
        if self.pretrained is not None and self.init is not None:
            found.append("student.init starts a built model: leave it out with student.pretrained")
        return found
