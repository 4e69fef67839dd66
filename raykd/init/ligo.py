"""LiGO: grow a model by a linear map of its weights that is itself learned.

Wang et al., Learning to Grow Pretrained Models for Efficient Transformer Training, ICLR 2023.

Suffixes: J indices of the target and S of the source in one space, counted in whole heads where
there are heads; M layers of the target that have a tensor, N layers of the source that do.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from raykd.axes import Axis, Space, Weights
from raykd.init.index_maps import Maps, duplicated
from raykd.init.indices import IndexMap
from raykd.init.provenance import InitResult
from raykd.init.transfer import Pair, along, transfer
from raykd.layer_map import Place

_LEARNED: tuple[Space, ...] = ("hidden", "query_heads", "key_value_heads", "intermediate")
_HEADS: tuple[Space, ...] = ("query_heads", "key_value_heads")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kind:
    """Tensors that grow together: the same one of every layer, or one outside the layers."""

    pairs: tuple[Pair, ...]
    """The target's tensors, and what each starts at."""

    sources: tuple[str, ...]
    """What they are mixed from: every layer's; empty outside the layers."""

    axes: tuple[Axis, ...]
    rows: tuple[IndexMap, ...]
    """The map of each dimension, used where none is learned."""


class GrowthOperator(torch.nn.Module):
    """A linear map from the weights of a source to those of a wider, deeper model.

    The tensors W_k of the source's layers k grow into the tensor of layer l by

        W_new[l] = B (sum_k w[l, k] W_k) A^T

    where B widens what the tensor writes and A what it reads: width and depth of the paper's
    factorisation. The choices within it are ours:

    - One B and one A for each space (``raykd.axes``), shared by all layers: for the residual
      stream, query heads, key-value heads, and feed-forward units.
    - Heads are mixed whole, each dimension of a head with the same dimension of other heads, so
      that rotary positions keep their meaning. The width of a head cannot grow.
    - B starts at a duplication of units, A at the same divided by the numbers of copies and is
      learned apart from B, w at one source layer for each layer. So before the first step the
      map is the function preserving ``expand`` of the same layers and generator.
    - w is learned for every tensor of a layer apart: weights, biases and norms.
    - Rows for tokens, positions and classes are not learned: they are the source's, and keep
      the target's own start where the source has none.

    Where the head is the table of embeddings, the norm before the head takes A in place of B.
    The parameters are float32, on the device of the source's tensors.
    """

    def __init__(
        self,
        source: Weights,
        target: Weights,
        *,
        layers: Sequence[int],
        class_order: Sequence[int] | None,
        generator: torch.Generator,
    ) -> None:
        """Start the operator at the function preserving expansion.

        Args:
            source: Frozen: no gradient reaches its tensors, and none is changed.
            target: Says what grows; its tensors are the start of what the source lacks.
            layers: Source layer that each layer of the target starts at.
            class_order: As in ``transfer``.
            generator: Draws which units are duplicated; of the CPU.

        Raises:
            ModelError: The target is narrower somewhere, its heads have another width, or the
                source is unlike it.
        """
        super().__init__()
        self._source = source
        self._maps = duplicated(source.widths, target.widths, generator=generator)
        pairs: list[Pair] = []

        def move(pair: Pair) -> tuple[torch.Tensor, str]:
            pairs.append(pair)
            is_layered = pair.layer is not None
            return pair.own, "learned growth of all layers" if is_layered else "learned growth"

        self._start = transfer(source, target, layers=layers, class_order=class_order, move=move)
        self._kinds = _kinds(pairs, source, target, self._maps)
        device = next(iter(source.state.values())).device
        starts = {space: self._duplication(space).to(device) for space in _LEARNED}
        self.out_operators = torch.nn.ParameterDict(starts)
        self.in_operators = torch.nn.ParameterDict(
            {
                # What reads the copies of a unit adds them up: each counts by its part.
                space: starts[space] / starts[space].sum(dim=0)
                for space in _LEARNED
                if space != "key_value_heads"  # what they write is read as query heads
            }
        )
        self.blends = torch.nn.ParameterList(
            [_first_blend(kind).to(device) for kind in self._kinds if kind.sources]
        )

    def forward(self) -> dict[str, torch.Tensor]:
        """Return every distinct tensor of the target, by name, in the target's precision."""
        state = dict(self._start.state)
        blends = iter(self.blends)
        for kind in self._kinds:
            if kind.sources:
                sources = [self._source.state[name].float() for name in kind.sources]
                mixed = torch.tensordot(next(blends), torch.stack(sources), dims=1)
            else:
                mixed = kind.pairs[0].tensor.float()[None]
            for pair, grown in zip(kind.pairs, self._widened(kind, mixed), strict=True):
                state[pair.name] = _with_own_rows(kind, pair, grown)
        return state

    def result(self) -> InitResult:
        """Return the target's tensors as the operator grows them, and where each comes from."""
        with torch.no_grad():
            state = {name: tensor.detach() for name, tensor in self().items()}
        return InitResult(state=state, provenance=self._start.provenance)

    def _widened(self, kind: _Kind, mixed: torch.Tensor) -> torch.Tensor:
        """Bring tensors, stacked in the first dimension, to the target's widths."""
        for dim, (axis, rows) in enumerate(zip(kind.axes, kind.rows, strict=True), start=1):
            if axis.spaces[0] in _LEARNED:
                mixed = self._applied(axis, mixed, dim=dim)
            elif not rows.is_identity:
                index_J = rows.source_J.clamp_min(0).to(mixed.device)
                mixed = mixed.index_select(dim, index_J)
        return mixed

    def _applied(self, axis: Axis, mixed: torch.Tensor, *, dim: int) -> torch.Tensor:
        """Apply the operators of the spaces that lie in one dimension."""
        operators = self.in_operators if axis.role == "in" else self.out_operators
        sizes = [self._maps[space].num_source for space in axis.spaces]
        pieces = []
        for space, piece in zip(axis.spaces, mixed.split(sizes, dim), strict=True):
            units = piece.unflatten(dim, (-1, self._unit_width(space))).movedim(dim, -1)
            widened = (units @ operators[space].T).movedim(-1, dim)
            pieces.append(widened.flatten(dim, dim + 1))
        return torch.cat(pieces, dim)

    def _duplication(self, space: Space) -> torch.Tensor:
        """Return the map of a space as a matrix of zeros and ones, [J, S]."""
        width = self._unit_width(space)
        # Heads are mapped whole: the first dimension of each tells which.
        units_J = self._maps[space].source_J[::width] // width
        return torch.eye(self._maps[space].num_source // width)[units_J]

    def _unit_width(self, space: Space) -> int:
        return self._source.widths.head_width if space in _HEADS else 1


def _kinds(pairs: list[Pair], source: Weights, target: Weights, maps: Maps) -> list[_Kind]:
    groups: dict[Place, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(replace(target.places[pair.name], layer=None), []).append(pair)
    return [
        _Kind(
            pairs=tuple(group),
            sources=() if group[0].layer is None else _of_all_layers(place, source),
            axes=_axes(group[0], target),
            rows=tuple(group[0].axis_maps(maps)),
        )
        for place, group in groups.items()
    ]


def _of_all_layers(place: Place, source: Weights) -> tuple[str, ...]:
    names = [source.named(replace(place, layer=layer)) for layer in range(source.num_layers)]
    return tuple(name for name in names if name is not None)


def _axes(pair: Pair, target: Weights) -> tuple[Axis, ...]:
    """Return the axes of a tensor, with the norm before a tied head in the part of the head."""
    if target.is_tied and pair.name in target.decoder_norm:
        return tuple(replace(axis, role="in") for axis in pair.axes)
    return pair.axes


def _first_blend(kind: _Kind) -> torch.Tensor:
    """Return one whole source tensor for each of the target, [M, N]."""
    return torch.tensor(
        [[float(pair.source_name == name) for name in kind.sources] for pair in kind.pairs]
    )


def _with_own_rows(kind: _Kind, pair: Pair, grown: torch.Tensor) -> torch.Tensor:
    """Return a grown tensor in the target's precision, with the target's own further rows."""
    tensor = grown.to(pair.own.dtype)
    for dim, rows in enumerate(kind.rows):
        is_none_J = rows.source_J < 0
        if is_none_J.any():
            tensor = torch.where(along(is_none_J, tensor, dim=dim), pair.own, tensor)
    return tensor
