"""The teachers, the student, and how the student's weights start."""

from dataclasses import dataclass, field, fields
from typing import Literal

from raykd.config.frozen import frozen_problems
from raykd.config.schema.init import InitConfig
from raykd.config.schema.teachers import CacheConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class UnigramConfig:
    """How often each class, or each token, is right in the data that the run trains on.

    The same at every position, counted once when training starts; every count is one higher
    (Laplace), so that nothing has probability 0.
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class TeacherConfig:
    """Whom the student imitates: a frozen model, or what is known without one."""

    model: str | None = None
    """Hub name, local directory, or URI of a run or of one of its checkpoints. Give this or
    unigram."""

    unigram: UnigramConfig | None = None
    """A teacher without knowledge: the control that tells what it teaches from what any
    distribution does as a regulariser (Yuan et al., 2020, Tf-KD)."""

    revision: str | None = None
    """Branch, tag or commit of a Hub model."""

    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Precision of the teacher's weights and forward pass; it is never trained."""

    languages: tuple[str, ...] | None = None
    """Languages it serves: it is asked about no other; null is all."""

    cache: CacheConfig | None = None
    """Compute what it says once and keep it; null asks it anew in every step."""

    permuted: int | None = None
    """Seed of a permutation of its classes, in which none keeps its place: a teacher that is
    wrong. Caches keep what it says before. null leaves them as they are."""

    def problems(self, key: str, *, task: str) -> list[str]:
        """Return every reason this teacher cannot be asked, each naming its key.

        Args:
            key: Where the section stands in the run.
            task: What the run learns.
        """
        problems = []
        if (self.model is None) == (self.unigram is None):
            problems.append(f"{key} needs exactly one of model and unigram")
        if self.unigram is not None:
            # Refused and not ignored: they would name another run that computes the same.
            problems += [
                f"{key}.{field.name} is of a model, and a unigram is none: leave it out"
                for field in fields(self)
                if field.name in ("revision", "dtype", "cache")
                and getattr(self, field.name) != field.default
            ]
        if self.languages is not None and not self.languages:
            problems.append(f"{key}.languages is empty: name one, or null for all")
        if self.permuted is not None and self.permuted < 0:
            problems.append(f"{key}.permuted must be >= 0 or null, got {self.permuted}")
        if self.permuted is not None and not task.endswith("_classification"):
            problems.append(
                f"{key}.permuted is for classes, got task={task}: take another wrong teacher, or "
                "null"
            )
        return problems


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
        problems = [
            f"student.architecture.{name} must be >= 1, got {value}"
            for name in ("num_layers", "hidden_size", "num_heads", "intermediate_size")
            if (value := getattr(self, name)) is not None and value < 1
        ]
        if self.dropout is not None and not 0 <= self.dropout < 1:
            problems.append(f"student.architecture.dropout must be in [0, 1), got {self.dropout}")
        return problems


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

    projections: Literal["shared", "per_language"] = "shared"
    """per_language: every language has its own projection and classifier, the family's head,
    over one encoder (AMTSS)."""

    projection_sources: dict[str, str] = field(default_factory=dict)
    """Language to the language whose projection it starts from, where a pretrained student has
    none for it; a language that is not named takes the nearest, whose projection classifies its
    training rows with the least loss."""

    eval_projections: dict[str, str] = field(default_factory=dict)
    """Language that is evaluated and has no projection, as none that is not trained on, to the
    language whose projection scores it. It has to be named: which one is the nearest could only
    be told from labels."""

    freeze: tuple[str, ...] = ()
    """Parts that are not trained, and compute without dropout: embeddings, layers below N (the
    first N), encoder (everything but the head: embeddings and layers too) or head. [encoder] is
    a linear probe. A matrix that embeddings and head share belongs to the embeddings."""

    def problems(self) -> list[str]:
        """Return every reason this section cannot run, each naming its key."""
        problems = [
            *(self.init.problems() if self.init else []),
            *(self.architecture.problems() if self.architecture else []),
            *frozen_problems("student.freeze", self.freeze),
        ]
        if (self.pretrained is None) == (self.architecture is None):
            problems.append("student needs exactly one of pretrained and architecture")
        # Refused and not ignored: who gives a revision expects that commit's weights.
        if self.revision is not None and self.pretrained is None:
            problems.append(f"student.revision ({self.revision}) needs student.pretrained")
        if self.pretrained is not None and self.init is not None:
            problems.append(
                "student.init starts a built model: leave it out with student.pretrained"
            )
        if self.projection_sources and (
            self.pretrained is None or self.projections != "per_language"
        ):
            problems.append(
                "student.projection_sources adds languages to a trained student: it needs "
                "student.pretrained and student.projections=per_language"
            )
        if self.eval_projections and self.projections != "per_language":
            problems.append(
                "student.eval_projections names projections of languages: it needs "
                "student.projections=per_language"
            )
        return problems
