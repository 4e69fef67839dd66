"""How the weights of a built student start: one optional section per method."""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

Depth = Literal["repeat_last", "stack", "interleave"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CopyLayersConfig:
    """Copy whole layers of a source model into the student; widths must match."""

    source: str | None = None
    """Name of a teacher, or Hub name, directory or URI; null is the first teacher."""

    pattern: Literal["even", "first", "last", "spread"] = "even"
    """even: every k-th layer and the last (layer 2i of a teacher twice as deep, counted from
    1, as in The Privileged Students); first, last: as many from that end; spread: evenly,
    the first and the last included."""

    layers: tuple[int, ...] | None = None
    """Source layer of each student layer, counted from 0; replaces the pattern."""

    parts: tuple[Literal["embeddings", "encoder", "head"], ...] = ("embeddings", "encoder", "head")
    """What is copied; the rest starts at random. The head only where the classes agree."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RemapConfig:
    """Grow as in the DWT paper: repeat layers, pad wider matrices with zeros (FNA)."""

    source: str | None = None
    """Name of a teacher, or Hub name, directory or URI; null is the first teacher."""

    depth: Depth = "repeat_last"
    """repeat_last: the layers, then the last one again (the paper's); stack: all layers again
    from the first; interleave: each layer several times in place."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExpandConfig:
    """Grow by duplicating units so that the function is kept (Net2Net, bert2BERT)."""

    source: str | None = None
    """Name of a teacher, or Hub name, directory or URI; null is the first teacher."""

    width: Literal["fpi", "aki"] = "fpi"
    """fpi: duplicates share what they feed (function preserving); aki: duplicates take the next
    layer's weights (bert2BERT's advanced knowledge initialisation)."""

    depth: Literal["repeat_last", "stack", "interleave", "identity"] = "stack"
    """As in remap; identity: inserted layers add nothing, for models that normalise before a
    layer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SelectConfig:
    """Shrink by taking a share of the weights along every dimension (Xu et al., 2024)."""

    source: str | None = None
    """Name of a teacher, or Hub name, directory or URI; null is the first teacher."""

    pattern: Literal["even", "first", "last", "spread"] = "first"
    """Which layers, as in copy_layers; the paper takes the first."""

    indices: Literal["even", "first"] = "even"
    """Which indices of a dimension: evenly spaced, or the first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SubcloneConfig:
    """Shrink by keeping the most active channels, heads and units (SubCloning, 2312.09299)."""

    source: str | None = None
    """Name of a teacher, or Hub name, directory or URI; null is the first teacher."""

    pattern: Literal["even", "first", "last", "spread"] = "spread"
    """Which layers, as in copy_layers."""

    num_batches: int = 8
    """Batches of the training data that activations are measured on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LigoConfig:
    """Grow by a learned map from the source's weights to the student's (LiGO)."""

    source: str | None = None
    """Name of a teacher, or Hub name, directory or URI; null is the first teacher."""

    depth: Depth = "stack"
    """Where the learned mixture of layers starts."""

    # As in the paper (Wang et al., 2023).
    num_steps: int = 100
    """Steps that the map is trained for, the source frozen."""

    learning_rate: float = 1e-3
    """Learning rate of Adam, which trains the map."""


InitMethodConfig = (
    CopyLayersConfig | RemapConfig | ExpandConfig | SelectConfig | SubcloneConfig | LigoConfig
)


@dataclass(frozen=True, kw_only=True, slots=True)
class InitConfig:
    """One optional section per method: exactly one is present."""

    copy_layers: CopyLayersConfig | None = None
    remap: RemapConfig | None = None
    expand: ExpandConfig | None = None
    select: SelectConfig | None = None
    subclone: SubcloneConfig | None = None
    ligo: LigoConfig | None = None

    @property
    def name(self) -> str:
        """Name of the method."""
        return next(field.name for field in fields(self) if getattr(self, field.name) is not None)

    @property
    def method(self) -> InitMethodConfig:
        """The section of the method."""
        method: InitMethodConfig = getattr(self, self.name)
        return method

    def with_source(self, source: str) -> "InitConfig":
        """Return the same method from another source."""
        changed: Any = {self.name: replace(self.method, source=source)}
        return InitConfig(**changed)

    def problems(self) -> list[str]:
        """Return every reason this section cannot run, each naming its key."""
        # The name of the method is undefined with none or two, so nothing else is looked at.
        names = [field.name for field in fields(self) if getattr(self, field.name) is not None]
        if len(names) != 1:
            got = f", got {' and '.join(names)}" if names else ""
            return [f"student.init needs exactly one method, such as copy_layers: {{}}{got}"]
        return [*self._copy_problems(), *self._number_problems()]

    def _copy_problems(self) -> list[str]:
        if (copied := self.copy_layers) is None:
            return []
        problems = []
        if not copied.parts:
            problems.append("student.init.copy_layers.parts is empty: name at least one part")
        if copied.layers is not None and (not copied.layers or min(copied.layers) < 0):
            problems.append(
                "student.init.copy_layers.layers must be source layers counted from 0, got "
                f"{list(copied.layers)}"
            )
        return problems

    def _number_problems(self) -> list[str]:
        problems = []
        if (cloned := self.subclone) is not None and cloned.num_batches < 1:
            value = cloned.num_batches
            problems.append(f"student.init.subclone.num_batches must be >= 1, got {value}")
        if (grown := self.ligo) is not None and grown.num_steps < 0:
            problems.append(f"student.init.ligo.num_steps must be >= 0, got {grown.num_steps}")
        if (grown := self.ligo) is not None and grown.learning_rate <= 0:
            rate = grown.learning_rate
            problems.append(f"student.init.ligo.learning_rate must be > 0, got {rate}")
        return problems
