"""Grow a model by repeating its layers and padding its matrices with zeros.

The remapping of the DWT paper (Lee et al., Findings of ACL 2023), in depth, by the general
scheme of its source, FNA (Fang et al., 2020), in width.
"""

from collections.abc import Sequence

import torch

from raykd.axes import Weights
from raykd.init.index_maps import check_grows, leading
from raykd.init.provenance import InitResult
from raykd.init.transfer import Pair, gathered, transfer


def remap(
    source: Weights,
    target: Weights,
    *,
    layers: Sequence[int],
    class_order: Sequence[int] | None,
) -> InitResult:
    """Return the target's tensors, with the source's in their top-left blocks.

    A wider matrix is zero outside that block, head by head in attention; what has one
    dimension, norms and biases, keeps its own start beyond the source's entries; so do rows
    of tokens and positions that the source lacks. The function is not kept: norms divide by
    statistics of more channels. Where a rotary head is wider, its first pairs of dimensions
    are the source's, at other frequencies than there.

    Args:
        source: The smaller model.
        target: The larger model.
        layers: Source layer of each target layer; the paper repeats the last.
        class_order: As in ``transfer``.

    Raises:
        ModelError: The target is narrower somewhere, or the source is unlike it.
    """
    check_grows(source.widths, target.widths)
    maps = leading(source.widths, target.widths)

    def move(pair: Pair) -> tuple[torch.Tensor, str]:
        tensor = gathered(pair, maps, is_zero_beyond=pair.own.ndim > 1)
        if pair.is_copied(maps):
            return tensor, "copied"
        return tensor, "first entries" if pair.own.ndim == 1 else "top-left block"

    return transfer(source, target, layers=layers, class_order=class_order, move=move)
