"""The way from a source to a target, tensor by tensor, that all methods share."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import torch

from raykd.axes import Axis, Space, Weights
from raykd.errors import ModelError
from raykd.init.index_maps import Maps, axis_map
from raykd.init.indices import IndexMap
from raykd.init.provenance import InitResult, Origin
from raykd.layer_map import Part, Place

PARTS: tuple[Part, ...] = ("embeddings", "encoder", "head")

_ROWS: tuple[Space, ...] = ("vocabulary", "positions", "relative_positions", "fixed")


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """A tensor of the target and the one of the source that stands where it follows."""

    name: str
    source_name: str
    tensor: torch.Tensor
    """The source's, classes in the target's order."""

    own: torch.Tensor
    """The target's random start."""

    axes: tuple[Axis, ...]
    """As the target's tensor is read: a decoder that only the source ties sums over hidden."""

    layer: int | None
    """Layer of the target; None outside the layers."""

    def axis_maps(self, maps: Maps) -> list[IndexMap]:
        """Return the map of each dimension."""
        return [
            axis_map(axis, maps, num_source=num_source, num_target=num_target)
            for axis, num_source, num_target in zip(
                self.axes, self.tensor.shape, self.own.shape, strict=True
            )
        ]

    def is_copied(self, maps: Maps) -> bool:
        """Whether target and source are the same along every dimension."""
        return all(index_map.is_identity for index_map in self.axis_maps(maps))


Move = Callable[[Pair], tuple[torch.Tensor, str]]
"""From a pair to the target's tensor and, in a few words, what was done."""


def transfer(
    source: Weights,
    target: Weights,
    *,
    layers: Sequence[int],
    class_order: Sequence[int] | None,
    move: Move,
    parts: Collection[Part] = PARTS,
) -> InitResult:
    """Return the target's tensors, each moved from the place of the source that it follows.

    Args:
        source: Where the tensors come from.
        target: Where they go; what is not moved keeps its own random start, with the reason.
        layers: Source layer of each target layer, counted from 0.
        class_order: Source class of each target class; None where the source has other classes
            and so the whole head stays random. Without meaning where the vocabulary is scored.
        move: Called once for each pair.
        parts: What is moved.

    Raises:
        ModelError: The source has no such embedding, or no such tensor in any layer.
    """
    state, provenance = dict(target.state), {}
    for name in target.state:
        reason = _reason_to_leave(name, target, class_order=class_order, parts=parts)
        pair = None if reason else _pair(name, source, target, layers, class_order)
        if pair is None:
            how = f"random: {reason or 'the source has no such tensor'}"
            provenance[name] = Origin(source=None, how=how)
        else:
            state[name], how = move(pair)
            provenance[name] = Origin(source=pair.source_name, how=how)
    return InitResult(state=state, provenance=provenance)


def gathered(pair: Pair, maps: Maps, *, is_zero_beyond: bool = False) -> torch.Tensor:
    """Return the source's tensor at the mapped indices, in the target's precision.

    Rows of tokens, positions and types that follow nothing keep the target's own start; so do
    other indices, unless they are to be zero.
    """
    tensor = pair.tensor
    axis_maps = pair.axis_maps(maps)
    for dim, index_map in enumerate(axis_maps):
        if not index_map.is_identity:
            # -1 follows nothing: what index 0 gives there is replaced below.
            index_J = index_map.source_J.clamp_min(0).to(tensor.device)
            tensor = tensor.index_select(dim, index_J)
    # A copy: where nothing was gathered, it would be the source's own memory.
    tensor = tensor.to(pair.own, copy=True)
    # Rows last: a row that the source lacks keeps its own start in its new columns too.
    rows_last = sorted(range(tensor.ndim), key=lambda dim: pair.axes[dim].space in _ROWS)
    for dim in rows_last:
        is_none_J = axis_maps[dim].source_J < 0
        if not is_none_J.any():
            continue
        is_zero = is_zero_beyond and pair.axes[dim].space not in _ROWS
        rest = torch.zeros_like(pair.own) if is_zero else pair.own
        tensor = torch.where(along(is_none_J, pair.own, dim=dim), rest, tensor)
    return tensor


def along(vector_J: torch.Tensor, like: torch.Tensor, *, dim: int) -> torch.Tensor:
    """Return a vector on the device of a tensor, shaped to broadcast along one dimension."""
    shape = [1] * like.ndim
    shape[dim] = -1
    return vector_J.to(like.device).view(shape)


def _reason_to_leave(
    name: str, target: Weights, *, class_order: Sequence[int] | None, parts: Collection[Part]
) -> str | None:
    part = target.places[name].part
    if part not in parts:
        return f"{part} not asked for"
    if part == "head" and class_order is None and _scores_classes(target):
        return "the source has other classes"
    return None


def _scores_classes(weights: Weights) -> bool:
    return any(axis.space == "classes" for axes in weights.axes.values() for axis in axes)


def _pair(
    name: str,
    source: Weights,
    target: Weights,
    layers: Sequence[int],
    class_order: Sequence[int] | None,
) -> Pair | None:
    place = target.places[name]
    followed = place if place.layer is None else replace(place, layer=layers[place.layer])
    source_name = source.named(followed)
    if source_name is None:
        _check_elsewhere(name, place, source)
        return None
    axes = target.axes[name]
    return Pair(
        name=name,
        source_name=source_name,
        tensor=_in_class_order(source.state[source_name], axes, class_order),
        own=target.state[name],
        axes=axes,
        layer=place.layer,
    )


def _check_elsewhere(name: str, place: Place, source: Weights) -> None:
    """Heads differ, and ModernBERT's first layer lacks a norm; else the models are unlike."""
    names = {other.name for other in source.places.values() if other.part == place.part}
    if place.part == "head" or (place.layer is not None and place.name in names):
        return
    message = (
        f"{name}: the source has no such tensor; a student starts from a model of its own family "
        "and settings: change student.architecture or student.init"
    )
    raise ModelError(message)


def _in_class_order(
    tensor: torch.Tensor, axes: tuple[Axis, ...], class_order: Sequence[int] | None
) -> torch.Tensor:
    spaces = [axis.space for axis in axes]
    if class_order is None or "classes" not in spaces:
        return tensor
    index = torch.tensor(class_order, dtype=torch.int64, device=tensor.device)
    return tensor.index_select(spaces.index("classes"), index)
