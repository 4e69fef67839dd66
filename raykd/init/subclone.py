"""Shrink a model to its most active channels, heads and units.

SubCloning (Samragh et al., 2023, arXiv 2312.09299).
"""

import math
from collections.abc import Sequence

import torch

from raykd.axes import Scores, Space, Weights, Widths
from raykd.init.index_maps import ranked
from raykd.init.provenance import InitResult
from raykd.init.transfer import Pair, gathered, transfer


def subclone(
    source: Weights,
    target: Weights,
    *,
    layers: Sequence[int],
    scores: Scores | None,
    class_order: Sequence[int] | None,
) -> InitResult:
    """Return the target's tensors with the source's highest ranked units, in its order.

    Channels of the residual stream have one order for the whole model, heads and feed-forward
    units one in each layer. Where fewer are kept of what a matrix sums over, d of the source
    and d' of the target, the matrix is multiplied by sqrt(d / d'), so that its outputs keep
    their scale; biases and norms are copied as they are.

    Ours: heads are kept whole, a key-value head with the queries that read it. A table of
    embeddings that is also the head is not scaled: the norm before the head is, weight and
    bias, which scales the logits alike.

    Args:
        source: The larger model.
        target: The smaller model.
        layers: Source layer of each target layer.
        scores: Of the source's units; None keeps the first ones, for a plan without weights.
        class_order: As in ``transfer``.

    Raises:
        ModelError: The target is wider somewhere, its heads have another width, or the source
            is unlike it.
    """
    if scores is None:
        scores = _equal_scores(source)
    maps = [
        ranked(source.widths, target.widths, scores=scores, layer=layer)
        for layer in range(source.num_layers)
    ]
    kept = _kept(source.widths, target.widths)
    scaled = target.decoder_norm if target.is_tied else ()

    def move(pair: Pair) -> tuple[torch.Tensor, str]:
        # Outside the layers nothing counts heads or units: any layer's map will do.
        layer_maps = maps[0 if pair.layer is None else layers[pair.layer]]
        tensor, scale = gathered(pair, layer_maps), _scale(pair, is_read=pair.name in scaled)
        how = _how(pair, kept)
        return (tensor, how) if scale == 1 else (tensor * scale, f"{how}, times {scale:.4g}")

    return transfer(source, target, layers=layers, class_order=class_order, move=move)


def _scale(pair: Pair, *, is_read: bool) -> float:
    """Return sqrt(d / d') over the dimensions that the forward pass sums over."""
    shapes = zip(pair.axes, pair.tensor.shape, pair.own.shape, strict=True)
    return math.prod(
        math.sqrt(num_source / num_target)
        for axis, num_source, num_target in shapes
        if axis.role == "in" or is_read
    )


def _how(pair: Pair, kept: dict[Space, str]) -> str:
    """Say what is kept: ``top 32 of 64 hidden, 2 of 4 query heads``."""
    spaces = dict.fromkeys(space for axis in pair.axes for space in axis.spaces)
    shrunk = [kept[space] for space in spaces if space in kept]
    return f"top {', '.join(shrunk)}" if shrunk else "copied"


def _kept(source: Widths, target: Widths) -> dict[Space, str]:
    """Describe every space that shrinks."""
    counts: dict[Space, tuple[int, int]] = {
        "hidden": (target.hidden, source.hidden),
        "query_heads": (target.num_heads, source.num_heads),
        "key_value_heads": (target.num_key_value_heads, source.num_key_value_heads),
        "intermediate": (target.intermediate, source.intermediate),
    }
    return {
        space: f"{kept} of {num_source} {space.replace('_', ' ')}"
        for space, (kept, num_source) in counts.items()
        if kept < num_source
    }


def _equal_scores(source: Weights) -> Scores:
    """Return scores that rank nothing: of equal units, the first are kept."""
    widths, layers = source.widths, source.num_layers
    return Scores(
        hidden_D=torch.zeros(widths.hidden),
        query_heads_NH=torch.zeros(layers, widths.num_heads),
        key_value_heads_NG=torch.zeros(layers, widths.num_key_value_heads),
        intermediate_NI=torch.zeros(layers, widths.intermediate),
    )
