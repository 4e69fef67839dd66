"""Start a student from whole layers of a source model, tensor by tensor."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import torch

from raykd.axes import Space, Weights, Widths
from raykd.errors import ModelError
from raykd.init.index_maps import leading
from raykd.init.provenance import InitResult
from raykd.init.transfer import Pair, gathered, transfer
from raykd.layer_map import Part

_ROWS: tuple[Space, ...] = ("vocabulary", "positions", "relative_positions")
_HEADS: tuple[Space, ...] = ("query_heads", "key_value_heads")


def copy_layers(
    source: Weights,
    target: Weights,
    *,
    layers: Sequence[int],
    parts: Collection[Part],
    class_order: Sequence[int] | None,
) -> InitResult:
    """Return the target's tensors with the asked parts taken from the source.

    A tensor is taken from the same place of the source, a tensor of layer i from layer
    ``layers[i]``, and brought to the target's precision. Tables of tokens and positions may be
    of different length: the rows that both have are copied, relative positions by their
    distance; rows that the source lacks stay as they are, and so do parts not asked for.

    Args:
        source: Where the tensors come from.
        target: Where they go.
        layers: Source layer of each target layer, counted from 0.
        parts: What is copied.
        class_order: As in ``transfer``.

    Raises:
        ModelError: A tensor of the source differs in shape, or the source is unlike the target.
    """
    mine, theirs = target.widths, source.widths
    rows = replace(
        theirs,
        vocabulary=mine.vocabulary,
        positions=mine.positions,
        relative_positions=mine.relative_positions,
    )
    maps = leading(theirs, rows)
    problems: list[str] = []

    def move(pair: Pair) -> tuple[torch.Tensor, str]:
        own, taken = _described(pair, pair.own, mine), _described(pair, pair.tensor, theirs)
        if own != taken:
            problems.append(
                f"{pair.name}: the student's is {own}, the source's {pair.source_name} is {taken}"
            )
            return pair.own, ""
        return gathered(pair, maps), "copied" if pair.is_copied(maps) else "rows that both have"

    result = transfer(
        source, target, layers=layers, class_order=class_order, move=move, parts=parts
    )
    if problems:
        more = f" (and {len(problems) - 1} tensors more)" if len(problems) > 1 else ""
        message = (
            f"{problems[0]}{more}; copy_layers needs equal widths: change student.architecture, "
            "leave the part out of copy_layers.parts, or use another method of student.init"
        )
        raise ModelError(message)
    return result


def _described(pair: Pair, tensor: torch.Tensor, widths: Widths) -> str:
    """Describe a tensor by what has to be equal: one shape holds heads of several widths."""
    shape = [
        axis.space if axis.space in _ROWS else str(size)
        for axis, size in zip(pair.axes, tensor.shape, strict=True)
    ]
    heads = f" with {widths.num_heads} heads, {widths.num_key_value_heads} of keys and values"
    has_heads = any(axis.space in _HEADS for axis in pair.axes)
    return f"[{', '.join(shape)}]{heads if has_heads else ''}"
