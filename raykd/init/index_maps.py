"""For every space, which index of a source each index of a target follows.

Attention keeps its structure: maps are made on whole heads, on the queries that share a
key-value head, and on the dimensions within a head, and then spread over the flat axis.

Suffixes as in ``raykd.batch`` and ``raykd.init.indices``; R query heads of one key-value head.
All are the target's.
"""

from collections.abc import Callable, Mapping

import torch

from raykd.axes import Axis, Scores, Space, Widths
from raykd.errors import ModelError
from raykd.init.indices import IndexMap, centred, evenly, first, largest, rounds

Maps = Mapping[Space, IndexMap]
"""A map for every space of a model but ``classes`` and ``fixed``, which no width decides."""


_Pick = Callable[[int, int], torch.Tensor]
"""From numbers of units, of the source and of the target, to the source unit of each of the
target's, -1 for none."""


def leading(source: Widths, target: Widths) -> Maps:
    """Follow index by index from the first: what the target has more follows nothing.

    The dimensions of a rotary head stay in their pairs: the first pairs are followed.

    Raises:
        ModelError: The heads of one model do not divide into those of the other.
    """
    return _maps(source, target, pick=first)


def even(source: Widths, target: Widths) -> Maps:
    """Follow evenly spaced indices: target index i follows i * d_source // d_target.

    Of a rotary head, evenly spaced pairs: where its width shrinks by a whole factor, every pair
    keeps its frequency.

    Raises:
        ModelError: The target is wider somewhere.
    """
    check_shrinks(source, target)
    return _maps(source, target, pick=evenly)


def duplicated(source: Widths, target: Widths, *, generator: torch.Generator) -> Maps:
    """Follow index by index from the first; what the target has more repeats what is there.

    The map g of Net2Net and bert2BERT (Chen et al., ACL 2022, section 3.2), which draws each
    repeated index uniformly. Here the draw is in whole rounds, each a random order of all
    indices, so that any two indices are repeated equally often but for one [the rounds are
    ours]: where the hidden size grows by a whole factor, norms see the same statistics. Heads
    are repeated whole, queries together with the key-value head they read.

    Args:
        source: The smaller model.
        target: The larger model.
        generator: Draws the orders; of the CPU.

    Raises:
        ModelError: The target is narrower somewhere, or its heads have another width.
    """
    check_grows(source, target)
    _check_head_width(source, target)
    return _maps(source, target, pick=lambda old, new: rounds(old, new, generator))


def ranked(source: Widths, target: Widths, *, scores: Scores, layer: int) -> Maps:
    """Follow the indices of the largest scores, in the source's order.

    Key-value heads are kept by their scores, then of the queries of each as many as the target
    has for one.

    Args:
        source: The larger model.
        target: The smaller model.
        scores: Of the source's units.
        layer: Layer of the source whose heads and feed-forward units are ranked; the map of
            the hidden space is the same for all.

    Raises:
        ModelError: The target is wider somewhere, or its heads have another width.
    """
    check_shrinks(source, target)
    _check_head_width(source, target)
    groups_G = largest(scores.key_value_heads_NG[layer], target.num_key_value_heads)
    group_size = source.num_heads // source.num_key_value_heads
    queries_GR = largest(
        scores.query_heads_NH[layer].unflatten(0, (-1, group_size))[groups_G],
        target.num_heads // target.num_key_value_heads,
    )
    return {
        **_maps(source, target, pick=first),
        "hidden": _index_map(largest(scores.hidden_D, target.hidden), source.hidden),
        "intermediate": _index_map(
            largest(scores.intermediate_NI[layer], target.intermediate), source.intermediate
        ),
        "query_heads": _of_heads(
            (groups_G[:, None] * group_size + queries_GR).flatten(),
            torch.arange(target.head_width),
            source,
            num_heads=source.num_heads,
        ),
        "key_value_heads": _of_heads(
            groups_G,
            torch.arange(target.head_width),
            source,
            num_heads=source.num_key_value_heads,
        ),
    }


def check_grows(source: Widths, target: Widths) -> None:
    """Check that a student is nowhere narrower than its source.

    Raises:
        ModelError: It is; the message shows both sizes.
    """
    for name, (old, new) in _sizes(source, target).items():
        if new < old:
            message = (
                f"the student's {name} is {new}, the source's {old}: a student that grows is "
                "nowhere narrower; change student.architecture, or use select or subclone"
            )
            raise ModelError(message)


def check_shrinks(source: Widths, target: Widths) -> None:
    """Check that a student is nowhere wider than its source.

    Raises:
        ModelError: It is; the message shows both sizes.
    """
    sizes = _sizes(source, target)
    queries = [w.num_heads // w.num_key_value_heads for w in (source, target)]
    sizes["num_heads / num_key_value_heads"] = (queries[0], queries[1])
    for name, (old, new) in sizes.items():
        if new > old:
            message = (
                f"the student's {name} is {new}, the source's {old}: a student that shrinks is "
                "nowhere wider; change student.architecture, or use remap, expand or ligo"
            )
            raise ModelError(message)


def axis_map(axis: Axis, maps: Maps, *, num_source: int, num_target: int) -> IndexMap:
    """Return the map of a dimension: of its blocks one after the other, or of its space.

    Classes, and what has one size in most models, are followed from the first.
    """
    if axis.space not in maps:
        return _index_map(first(num_source, num_target), num_source)
    sources, offset = [], 0
    for space in axis.spaces:
        source_J = maps[space].source_J
        sources.append(torch.where(source_J < 0, -1, source_J + offset))
        offset += maps[space].num_source
    return _index_map(torch.cat(sources), offset)


def _maps(source: Widths, target: Widths, *, pick: _Pick) -> Maps:
    within_E = _within_head(source, target, pick)
    return {
        "hidden": _index_map(pick(source.hidden, target.hidden), source.hidden),
        **_head_maps(source, target, pick=pick, within_E=within_E),
        "head_width": _index_map(within_E, source.head_width),
        "intermediate": _index_map(
            pick(source.intermediate, target.intermediate), source.intermediate
        ),
        "vocabulary": _index_map(first(source.vocabulary, target.vocabulary), source.vocabulary),
        "positions": _index_map(first(source.positions, target.positions), source.positions),
        "relative_positions": _index_map(
            centred(source.relative_positions, target.relative_positions),
            source.relative_positions,
        ),
    }


def _head_maps(
    source: Widths, target: Widths, *, pick: _Pick, within_E: torch.Tensor
) -> dict[Space, IndexMap]:
    size, target_size = (w.num_heads // w.num_key_value_heads for w in (source, target))
    groups, split = source.num_key_value_heads, 1
    if target_size < size and target.num_key_value_heads > groups:
        # Fewer queries read one key-value head: the source's group is several of the target's.
        split, remainder = divmod(size, target_size)
        if remainder:
            message = (
                f"a student with {target_size} heads per key-value head cannot follow a source "
                f"with {size}: choose student.architecture.num_heads so that one divides the other"
            )
            raise ModelError(message)
    groups_G = pick(groups * split, target.num_key_value_heads)
    queries_R = pick(size // split, target_size)
    is_none_GR = (groups_G[:, None] < 0) | (queries_R < 0)
    queries_GR = groups_G[:, None] * (size // split) + queries_R
    heads_GR = torch.where(is_none_GR, -1, queries_GR)
    return {
        "query_heads": _of_heads(heads_GR.flatten(), within_E, source, num_heads=source.num_heads),
        "key_value_heads": _of_heads(
            torch.where(groups_G < 0, -1, groups_G // split), within_E, source, num_heads=groups
        ),
    }


def _of_heads(
    heads_H: torch.Tensor, within_E: torch.Tensor, source: Widths, *, num_heads: int
) -> IndexMap:
    """Spread a map of heads over the flat axis of heads times their width."""
    flat_HE = heads_H[:, None] * source.head_width + within_E
    is_none_HE = (heads_H[:, None] < 0) | (within_E < 0)
    return _index_map(
        torch.where(is_none_HE, -1, flat_HE).flatten(), num_heads * source.head_width
    )


def _within_head(source: Widths, target: Widths, pick: _Pick) -> torch.Tensor:
    if not target.is_rotary:
        return pick(source.head_width, target.head_width)
    # rotate_half of transformers turns dimension i with i + half: both follow alike.
    half = source.head_width // 2
    first_J = pick(half, target.head_width // 2)
    return torch.cat([first_J, torch.where(first_J < 0, -1, first_J + half)])


def _index_map(source_J: torch.Tensor, num_source: int) -> IndexMap:
    return IndexMap(source_J=source_J, num_source=num_source)


def _check_head_width(source: Widths, target: Widths) -> None:
    if source.head_width == target.head_width:
        return
    message = (
        f"a head of the student is {target.head_width} wide, of the source {source.head_width}: "
        "whole heads are kept; change student.architecture.num_heads with hidden_size so that "
        "hidden_size / num_heads stays, or set settings.head_dim"
    )
    raise ModelError(message)


def _sizes(source: Widths, target: Widths) -> dict[str, tuple[int, int]]:
    return {
        "hidden_size": (source.hidden, target.hidden),
        "num_heads": (source.num_heads, target.num_heads),
        "num_key_value_heads": (source.num_key_value_heads, target.num_key_value_heads),
        "head width": (source.head_width, target.head_width),
        "intermediate_size": (source.intermediate, target.intermediate),
    }
