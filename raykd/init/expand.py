"""Grow a model by duplicating its units so that it computes what it did.

Net2Net (Chen et al., ICLR 2016) and bert2BERT (Chen et al., ACL 2022), for every family.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch

from raykd.axes import Axis, Weights
from raykd.errors import ModelError
from raykd.init.index_maps import Maps, duplicated
from raykd.init.provenance import InitResult, Origin
from raykd.init.transfer import Pair, along, gathered, transfer
from raykd.layer_map import Growth, growth_map


def expand(
    source: Weights,
    target: Weights,
    *,
    width: Literal["fpi", "aki"],
    depth: Growth | Literal["identity"],
    class_order: Sequence[int] | None,
    generator: torch.Generator,
) -> InitResult:
    """Return the target's tensors, grown from the source's.

    In width, both as in bert2BERT (section 3.2):

        fpi   what a tensor writes is duplicated by the map g of ``duplicated``, what it reads
              by g and divided by the number of copies, in float64
        aki   the same, but in the layers what is written by a repeated unit comes from the
              source's following layer, which breaks the symmetry of copies; the last layer
              follows itself

    In depth, the maps of ``growth_map``, which change the function, or ``identity``: layers are
    interleaved, and each repeated one starts with zero in the projections that add to the
    residual stream, so that it adds nothing [ours, after identity layers in other growth
    methods].

    With ``fpi`` and equal depth or ``identity`` the function is kept to rounding, given that

    - the hidden size stays or grows by a whole factor; by another one, norms see other
      statistics (half as large again: 2 to 11 % of the largest logit in tiny random models)
    - where a table of embeddings is also the decoder, the norm before the decoder can take the
      division: every family has that norm, and ``source`` ties the two as ``target`` does or
      ``target`` unties them
    - layers keep their kind of attention; ModernBERT's local layers and those of sliding
      windows keep it when the depth is doubled, not for every factor

    Args:
        source: The smaller model.
        target: The larger model.
        width: What duplicates compute.
        depth: What additional layers start from.
        class_order: As in ``transfer``.
        generator: Draws which units are duplicated; of the CPU.

    Raises:
        ModelError: The target is narrower somewhere, its heads have another width, the source
            is unlike it, or layers that add nothing are asked of a model that normalises after
            adding.
        ValueError: The target is shallower.
    """
    if depth == "identity" and not target.is_pre_norm:
        message = (
            "student.init.expand.depth: identity needs a family that normalises before a layer, "
            "such as gpt2, modernbert or llama: here the sum of a layer that adds nothing is "
            "still normalised once more; choose stack, interleave or repeat_last"
        )
        raise ModelError(message)
    layers = growth_map(
        "interleave" if depth == "identity" else depth,
        num_student_layers=target.num_layers,
        num_source_layers=source.num_layers,
    )
    maps = duplicated(source.widths, target.widths, generator=generator)
    result = _duplicated(source, target, maps, layers=layers, class_order=class_order)
    if width == "aki":
        result = _with_following_repeats(
            result, source, target, maps, layers=layers, class_order=class_order
        )
    if depth == "identity":
        result = _silenced(result, target, layers)
    return result


def _duplicated(
    source: Weights,
    target: Weights,
    maps: Maps,
    *,
    layers: Sequence[int],
    class_order: Sequence[int] | None,
) -> InitResult:
    divided = target.decoder_norm if target.is_tied else ()

    def move(pair: Pair) -> tuple[torch.Tensor, str]:
        if pair.is_copied(maps):
            return gathered(pair, maps), "copied"
        if pair.name in divided:
            return _shared_out(pair, maps, role="out"), "duplicated, divided for the tied decoder"
        return _shared_out(pair, maps, role="in"), "duplicated"

    return transfer(source, target, layers=layers, class_order=class_order, move=move)


def _shared_out(pair: Pair, maps: Maps, *, role: Literal["out", "in"]) -> torch.Tensor:
    """Duplicate a tensor whose entries copies share along the dimensions of a role."""
    tensor = pair.tensor
    for dim, index_map in enumerate(pair.axis_maps(maps)):
        if pair.axes[dim].role == role and not index_map.is_identity:
            # float64: the copies add up to the weight again but for its own rounding.
            tensor = tensor.double() / along(index_map.copies_S, tensor, dim=dim)
    return gathered(replace(pair, tensor=tensor), maps)


def _with_following_repeats(
    result: InitResult,
    source: Weights,
    target: Weights,
    maps: Maps,
    *,
    layers: Sequence[int],
    class_order: Sequence[int] | None,
) -> InitResult:
    """Replace what repeated units write in the layers by what it is one source layer later."""
    following = [min(layer + 1, source.num_layers - 1) for layer in layers]
    provenance = dict(result.provenance)

    def move(pair: Pair) -> tuple[torch.Tensor, str]:
        mine = result.state[pair.name]
        is_repeat = _is_written_by_repeats(pair, maps)
        if pair.layer is None or is_repeat is None:
            return mine, ""
        origin = provenance[pair.name]
        how = f"{origin.how}, repeats from {pair.source_name}"
        provenance[pair.name] = replace(origin, how=how)
        return torch.where(is_repeat, _shared_out(pair, maps, role="in"), mine), ""

    mixed = transfer(source, target, layers=following, class_order=class_order, move=move)
    return InitResult(state=mixed.state, provenance=provenance)


def _is_written_by_repeats(pair: Pair, maps: Maps) -> torch.Tensor | None:
    """Return True where an output of a tensor is a unit's second copy or later, or None."""
    for dim, index_map in enumerate(pair.axis_maps(maps)):
        if pair.axes[dim].role == "out" and index_map.is_repeat_J.any():
            return along(index_map.is_repeat_J, pair.own, dim=dim)
    return None


def _silenced(result: InitResult, target: Weights, layers: Sequence[int]) -> InitResult:
    """Let every layer that repeats the source layer of an earlier one add nothing."""
    repeats = {at for at, layer in enumerate(layers) if layer in layers[:at]}
    zeros = {
        name: torch.zeros_like(target.state[name])
        for matrix in target.state
        if target.places[matrix].layer in repeats and _adds_to_stream(target.axes[matrix])
        for name in (matrix, f"{matrix.removesuffix('weight')}bias")
        if name in target.state
    }
    origin = Origin(source=None, how="zero: the layer is inserted and adds nothing")
    return InitResult(
        state=result.state | zeros, provenance=result.provenance | dict.fromkeys(zeros, origin)
    )


def _adds_to_stream(axes: tuple[Axis, ...]) -> bool:
    spaces = {axis.role: axis.space for axis in axes}
    return spaces["out"] == "hidden" and spaces.get("in") in ("query_heads", "intermediate")
