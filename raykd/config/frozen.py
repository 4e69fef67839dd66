"""What of a student is not trained, written as a list of its parts.

embeddings        the tables before the layers, and what they are normalised by
layers below 6    the first six transformer layers: 0 to 5
encoder           everything but the head: embeddings, layers, what belongs to no layer
head              what scores tokens, examples or the vocabulary
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_PARTS = ("embeddings", "encoder", "head")
_LAYERS = re.compile(r"layers below ([1-9][0-9]*)")


@dataclass(frozen=True, kw_only=True, slots=True)
class FrozenParts:
    """Parts of a model that are not trained; by default none."""

    parts: frozenset[str] = frozenset()
    num_layers: int = 0
    """The layers below this one, counted from 0."""

    def covers(self, part: str, *, layer: int | None) -> bool:
        """Tell whether what stands at a place of a model is not trained.

        Args:
            part: embeddings, encoder or head.
            layer: Of a tensor in the layers.
        """
        # In the places of tensors the embeddings are no part of the encoder.
        if part in self.parts or (part == "embeddings" and "encoder" in self.parts):
            return True
        return layer is not None and layer < self.num_layers

    def num_untouched(self, num_layers: int, *, shares_table: bool) -> int:
        """Return how many of a model's layers no gradient goes through: those at the bottom.

        Args:
            num_layers: Of the model.
            shares_table: Whether each of them reads a tensor that belongs to none.
        """
        if "encoder" in self.parts:
            return num_layers
        is_bottom_frozen = "embeddings" in self.parts and not shares_table
        return min(self.num_layers, num_layers) if is_bottom_frozen else 0


NOTHING = FrozenParts()
EVERYTHING = FrozenParts(parts=frozenset({"encoder", "head"}))


def parse_frozen(names: Sequence[str]) -> FrozenParts:
    """Read a list such as ``["embeddings", "layers below 6"]``; the module docstring says more.

    Raises:
        ValueError: One is none of them.
    """
    parts, num_layers = set(), 0
    for name in names:
        if name in _PARTS:
            parts.add(name)
        elif (match := _LAYERS.fullmatch(name)) is not None:
            num_layers = max(num_layers, int(match[1]))
        else:
            message = (
                f"{name!r} is no part of a model: write embeddings, encoder, head or 'layers "
                "below N', where N is at least 1"
            )
            raise ValueError(message)
    return FrozenParts(parts=frozenset(parts), num_layers=num_layers)


def frozen_problems(key: str, names: Sequence[str]) -> list[str]:
    """Return why parts cannot be left untrained, naming the key."""
    try:
        frozen = parse_frozen(names)
    except ValueError as error:
        return [f"{key}: {error}"]
    if EVERYTHING.parts <= frozen.parts:
        return [f"{key} names encoder and head: nothing is left to be trained"]
    return []
