"""What each dimension of a model's tensors counts, so that widths can change consistently.

Every dimension of every tensor belongs to a space: two tensors that meet in a forward pass
share the space in which they meet, so one map of indices per space keeps a model consistent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch

from raykd.layer_map import Place

Space = Literal[
    "hidden",
    "query_heads",
    "key_value_heads",
    "head_width",
    "intermediate",
    "vocabulary",
    "positions",
    "relative_positions",
    "classes",
    "fixed",
]
"""``hidden`` is the residual stream; an axis of heads counts heads times the width of one, and
``head_width`` one of them; ``positions`` are rows of a table that counts from the first token,
``relative_positions`` of one whose middle row is no distance; ``fixed`` is whatever else has
rows, such as types of tokens."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """One dimension of a tensor."""

    space: Space
    role: Literal["out", "in"] = "out"
    """``in`` where the forward pass sums over the dimension: what is copied twice there has to
    be divided by two."""

    blocks: tuple[Space, ...] = ()
    """Spaces that lie one after the other in the dimension, as in fused projections (query, key,
    value); empty for the one ``space``."""

    @property
    def spaces(self) -> tuple[Space, ...]:
        """The spaces that lie one after the other, one of them in most dimensions."""
        return self.blocks or (self.space,)


@dataclass(frozen=True, kw_only=True, slots=True)
class Widths:
    """The sizes of the spaces of one model, and the structure within them."""

    hidden: int
    num_heads: int
    num_key_value_heads: int
    """Equal to ``num_heads`` but in grouped-query attention, where query head h reads
    key-value head h // (num_heads / num_key_value_heads)."""

    head_width: int
    intermediate: int
    vocabulary: int
    positions: int
    """0 where there is no table of positions."""

    relative_positions: int
    """0 where there is no table of relative positions."""

    classes: int
    """Classes that the head scores; without meaning where the vocabulary is scored."""

    is_rotary: bool
    """Whether dimension i of a head is rotated with dimension i + head_width / 2, at a frequency
    that depends on i / head_width."""

    def size_of(self, space: Space) -> int | None:
        """Return the number of indices of a space; None for ``fixed``, of any size."""
        sizes: dict[Space, int] = {
            "hidden": self.hidden,
            "query_heads": self.num_heads * self.head_width,
            "key_value_heads": self.num_key_value_heads * self.head_width,
            "head_width": self.head_width,
            "intermediate": self.intermediate,
            "vocabulary": self.vocabulary,
            "positions": self.positions,
            "relative_positions": self.relative_positions,
            "classes": self.classes,
        }
        return sizes.get(space)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """How much the units of a model matter, larger for more; N layers, as in the suffixes."""

    hidden_D: torch.Tensor
    """Score of each channel of the residual stream, one order for all layers; shape [D]."""

    query_heads_NH: torch.Tensor
    key_value_heads_NG: torch.Tensor
    intermediate_NI: torch.Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """The tensors of one model with all that is needed to move them into another."""

    state: Mapping[str, torch.Tensor]
    """Each distinct tensor once, by name."""

    aliases: Mapping[str, str]
    """For each further name of a tied tensor, its name in ``state``."""

    places: Mapping[str, Place]
    """Where the tensor of every name stands, aliases included."""

    axes: Mapping[str, tuple[Axis, ...]]
    """Axes under every name, aliases included: a table of embeddings is read by its rows, the
    decoder tied to it sums over its columns."""

    widths: Widths
    num_layers: int
    is_tied: bool
    """Whether the head that scores the vocabulary is the table of embeddings."""

    is_pre_norm: bool
    """Whether a layer adds to the residual stream without normalising the sum: a layer that adds
    zero is then the identity."""

    decoder_norm: tuple[str, ...]
    """Tensors of the norm whose output is what the vocabulary is scored from; empty where
    classes are scored."""

    def named(self, place: Place) -> str | None:
        """Return the name in ``state`` of the tensor at a place, or None."""
        name = next((name for name, other in self.places.items() if other == place), None)
        return None if name is None else self.aliases.get(name, name)
