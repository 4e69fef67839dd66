"""Terms of the objective that compare what is inside student and teacher, token by token."""

from dataclasses import dataclass
from typing import Literal

Pattern = Literal["even", "first", "last", "spread"]


@dataclass(frozen=True, kw_only=True, slots=True)
class HiddenStatesConfig:
    """Distance between the hidden states of student's and teacher's layers, per token.

    Where the widths differ, a learned projection brings the student's to the teacher's
    (TinyBERT); it is trained with the student and saved in its checkpoints alone.
    """

    weight: str = "1"
    """Multiplier in the total loss: a number or a schedule. Two stages, as in TinyBERT: '1 @ 0.5
    -> 0 @ 0.5' here and '0 @ 0.5 -> 1 @ 0.5' for the terms on logits."""

    distance: Literal["mse", "cosine"] = "mse"
    """mse: squared difference, averaged over the width; cosine: 1 minus the cosine."""

    pattern: Pattern | None = None
    """Teacher's layer of each student's layer, as in student.init.copy_layers; null is the map of
    student.init where that starts from the same teacher, and even elsewhere."""

    layers: tuple[int, ...] | None = None
    """Teacher's layer of each student's layer, counted from 0; replaces the pattern."""

    embeddings: bool = True
    """Compare the output of the embeddings too."""

    teacher: str | None = None
    """Which of several teachers; null is the only one."""

    def problems(self) -> list[str]:
        """Return every reason this section cannot run, each naming its key."""
        return _layers_problems("losses.hidden_states.layers", self.layers)


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionScoresConfig:
    """Squared difference of the attention scores before the softmax, per token (TinyBERT).

    Both models need equally many heads.
    """

    weight: str = "1"
    """Multiplier in the total loss: a number or a schedule such as '1 @ 0.5 -> 0 @ 0.5'."""

    pattern: Pattern | None = None
    """Teacher's layer of each student's layer, as in losses.hidden_states."""

    layers: tuple[int, ...] | None = None
    """Teacher's layer of each student's layer, counted from 0; replaces the pattern."""

    teacher: str | None = None
    """Which of several teachers; null is the only one."""

    def problems(self) -> list[str]:
        """Return every reason this section cannot run, each naming its key."""
        return _layers_problems("losses.attention_scores.layers", self.layers)


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionRelationsConfig:
    """KL between the self-relations of queries, keys and values of one layer (MiniLMv2)."""

    weight: str = "1"
    """Multiplier in the total loss: a number or a schedule such as '4 -> 1'."""

    relations: tuple[Literal["query", "key", "value"], ...] = ("query", "key", "value")
    """Whose relations to themselves are compared."""

    num_heads: int | None = None
    """Relation heads, which must divide both widths; null takes the student's heads."""

    layer: int | None = None
    """Layer of the teacher, counted from 0; null is its last. The student's is its last."""

    teacher: str | None = None
    """Which of several teachers; null is the only one."""

    def problems(self) -> list[str]:
        """Return every reason this section cannot run, each naming its key."""
        key = "losses.attention_relations"
        problems = []
        if not self.relations:
            problems.append(f"{key}.relations is empty: name at least one")
        if self.num_heads is not None and self.num_heads < 1:
            problems.append(f"{key}.num_heads must be >= 1, got {self.num_heads}")
        if self.layer is not None and self.layer < 0:
            problems.append(f"{key}.layer must be >= 0, got {self.layer}")
        return problems


def _layers_problems(key: str, layers: tuple[int, ...] | None) -> list[str]:
    # How many layers there are is known only with the models: that is checked in the plan.
    if layers is None or (layers and min(layers) >= 0):
        return []
    return [f"{key} must be teacher's layers counted from 0, got {list(layers)}"]
