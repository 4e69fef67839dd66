"""How large a model is, as the ledger keeps it: known without the model, its run or its data."""

from dataclasses import dataclass, field
from typing import Any

from raykd.config.schema.run import TaskName


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSize:
    """Numbers of parameters of a model with the head of a task; a tied one counts once.

    Two are equal where their architectures are, as far as these numbers tell.
    """

    task: TaskName
    model_type: str
    """The family, as transformers calls it."""

    num_layers: int
    hidden_size: int
    embeddings: int
    layers: int
    """Parameters of the encoder: all layers, and norms or tables that belong to none of them."""

    head: int
    """Parameters of one head; 0 where that is the embeddings again."""

    num_heads: int = 1
    """Heads of the task: one, or one for each language."""

    fields: dict[str, Any] = field(compare=False, repr=False)
    """Its transformers configuration, where that differs from the family's defaults."""

    @property
    def total(self) -> int:
        """Number of all parameters, those of every head too."""
        return self.embeddings + self.layers + self.head * self.num_heads

    @property
    def architecture(self) -> str:
        """The architecture in words, such as ``bert, 4 layers x 128``."""
        heads = f", a head for each of {self.num_heads} languages" if self.num_heads > 1 else ""
        layers = f"{self.num_layers} layer{'s'[: self.num_layers != 1]}"
        return f"{self.model_type}, {layers} x {self.hidden_size}{heads}"

    @property
    def id(self) -> str:
        """A text that is equal where the sizes are."""
        counts = f"{self.embeddings}+{self.layers}+{self.num_heads}x{self.head}"
        return f"{self.task} {self.model_type} {self.num_layers}x{self.hidden_size} {counts}"
