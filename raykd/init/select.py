"""Shrink a model to a share of its weights along every dimension.

Xu et al., Initializing Models with Larger Ones, ICLR 2024.
"""

from collections.abc import Sequence
from typing import Literal

import torch

from raykd.axes import Weights
from raykd.init.index_maps import check_shrinks, even, leading
from raykd.init.provenance import InitResult
from raykd.init.transfer import Pair, gathered, transfer


def select(
    source: Weights,
    target: Weights,
    *,
    layers: Sequence[int],
    indices: Literal["even", "first"],
    class_order: Sequence[int] | None,
) -> InitResult:
    """Return the target's tensors with evenly spaced, or the first, weights of the source.

    Weight selection (Xu et al., 2024, section 3.2): nothing is rescaled. There, indices are
    spaced along each dimension of each tensor; here, within the structure of attention, whole
    heads and pairs of rotary dimensions among them [ours].

    Args:
        source: The larger model.
        target: The smaller model.
        layers: Source layer of each target layer; the paper takes the first.
        indices: Which indices of a dimension.
        class_order: As in ``transfer``.

    Raises:
        ModelError: The target is wider somewhere, or the source is unlike it.
    """
    check_shrinks(source.widths, target.widths)
    maps = (even if indices == "even" else leading)(source.widths, target.widths)

    def move(pair: Pair) -> tuple[torch.Tensor, str]:
        how = "copied" if pair.is_copied(maps) else f"{indices} indices"
        return gathered(pair, maps), how

    return transfer(source, target, layers=layers, class_order=class_order, move=move)
