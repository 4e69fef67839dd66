"""Maps of indices keep heads whole, queries with their keys, and rotary pairs together."""

from collections import Counter

import pytest
import torch
from raykd.axes import Axis, Scores, Widths
from raykd.errors import ModelError
from raykd.init.index_maps import Maps, axis_map, duplicated, even, leading, ranked
from raykd.init.indices import IndexMap, centred, evenly, first, largest, rounds


def widths(
    *,
    hidden: int = 8,
    heads: tuple[int, int] = (4, 4),
    head_width: int = 2,
    intermediate: int = 6,
    relative_positions: int = 0,
    is_rotary: bool = False,
) -> Widths:
    return Widths(
        hidden=hidden,
        num_heads=heads[0],
        num_key_value_heads=heads[1],
        head_width=head_width,
        intermediate=intermediate,
        vocabulary=10,
        positions=5,
        relative_positions=relative_positions,
        classes=3,
        is_rotary=is_rotary,
    )


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def heads_followed(maps: Maps, *, head_width: int = 2) -> tuple[list[int], list[int]]:
    """Return the source head of each query head and of each key-value head."""
    followed = []
    for space in (maps["query_heads"], maps["key_value_heads"]):
        rows_HE = space.source_J.unflatten(0, (-1, head_width))
        assert torch.equal(rows_HE, rows_HE[:, :1] + torch.arange(head_width))  # whole heads
        followed.append((rows_HE[:, 0] // head_width).tolist())
    return followed[0], followed[1]


def is_consistent(maps: Maps, source: Widths, target: Widths) -> bool:
    """Whether every query head reads the copy of the key-value head it read."""
    queries, keys = heads_followed(maps)
    source_size, target_size = (w.num_heads // w.num_key_value_heads for w in (source, target))
    return all(
        query // source_size == keys[head // target_size] for head, query in enumerate(queries)
    )


def test_first_indices_and_nothing_beyond() -> None:
    assert first(3, 5).tolist() == [0, 1, 2, -1, -1]
    assert first(5, 3).tolist() == [0, 1, 2]


def test_even_indices_are_evenly_spaced() -> None:
    assert evenly(8, 4).tolist() == [0, 2, 4, 6]
    assert evenly(5, 3).tolist() == [0, 1, 3]
    assert evenly(4, 4).tolist() == [0, 1, 2, 3]


def test_the_middle_follows_the_middle() -> None:
    assert centred(4, 8).tolist() == [-1, -1, 0, 1, 2, 3, -1, -1]
    assert centred(8, 4).tolist() == [2, 3, 4, 5]


@pytest.mark.parametrize("num_target", [5, 7, 10, 13, 20])
def test_rounds_repeat_every_index_equally_often_but_for_one(num_target: int) -> None:
    source_J = rounds(5, num_target, generator())
    assert source_J[:5].tolist() == [0, 1, 2, 3, 4]
    counts = Counter(source_J.tolist())
    assert sum(counts.values()) == num_target
    assert max(counts.values()) - min(counts.values()) <= 1
    assert set(counts) == set(range(5))


def test_rounds_are_drawn() -> None:
    assert rounds(32, 64, generator())[32:].tolist() != list(range(32))
    assert torch.equal(rounds(32, 64, generator()), rounds(32, 64, generator()))


def test_the_largest_are_kept_in_order_and_the_first_of_equals() -> None:
    assert largest(torch.tensor([1.0, 5.0, 0.0, 5.0, 7.0]), 3).tolist() == [1, 3, 4]
    assert largest(torch.zeros(5), 2).tolist() == [0, 1]


def test_copies_are_counted_and_repeats_are_the_later_ones() -> None:
    index_map = IndexMap(source_J=torch.tensor([0, 1, 2, 1, -1, -1, 1]), num_source=4)
    assert index_map.copies_S.tolist() == [1, 3, 1, 0]
    assert index_map.is_repeat_J.tolist() == [False, False, False, True, False, False, True]
    assert not index_map.is_identity
    assert IndexMap(source_J=torch.arange(4), num_source=4).is_identity
    assert not IndexMap(source_J=torch.arange(4), num_source=5).is_identity


@pytest.mark.parametrize(
    ("source_heads", "target_heads"),
    [
        ((4, 4), (8, 8)),
        ((4, 2), (8, 4)),  # twice the groups
        ((4, 2), (8, 2)),  # twice the queries of a group
        ((4, 2), (12, 3)),  # both
        ((4, 2), (8, 8)),  # groups that split
        ((8, 2), (8, 4)),
        ((4, 1), (6, 1)),
    ],
)
def test_duplicated_heads_read_the_keys_they_read(
    source_heads: tuple[int, int], target_heads: tuple[int, int]
) -> None:
    source, target = widths(heads=source_heads), widths(heads=target_heads)
    maps = duplicated(source, target, generator=generator())
    assert is_consistent(maps, source, target)
    queries, keys = heads_followed(maps)
    assert set(queries) == set(range(source_heads[0]))
    assert set(keys) == set(range(source_heads[1]))


def test_groups_that_do_not_split_are_refused() -> None:
    with pytest.raises(ModelError, match=r"2 heads per key-value head cannot follow .* with 3"):
        duplicated(widths(heads=(6, 2)), widths(heads=(6, 3)), generator=generator())


@pytest.mark.parametrize(
    ("source_heads", "target_heads", "queries", "keys"),
    [
        ((8, 8), (4, 4), [0, 2, 4, 6], [0, 2, 4, 6]),
        ((8, 4), (4, 2), [0, 1, 4, 5], [0, 2]),
        ((8, 2), (4, 2), [0, 2, 4, 6], [0, 1]),
        ((8, 2), (2, 1), [0, 2], [0]),
    ],
)
def test_even_heads_keep_their_keys(
    source_heads: tuple[int, int],
    target_heads: tuple[int, int],
    queries: list[int],
    keys: list[int],
) -> None:
    source, target = widths(heads=source_heads), widths(heads=target_heads)
    maps = even(source, target)
    assert heads_followed(maps) == (queries, keys)
    assert is_consistent(maps, source, target)


def test_more_heads_on_fewer_keys_are_no_selection() -> None:
    with pytest.raises(ModelError, match="num_heads / num_key_value_heads is 2, the source's 1"):
        even(widths(heads=(8, 8)), widths(heads=(4, 2)))


def test_leading_heads_stay_with_their_group() -> None:
    source, target = widths(heads=(4, 2)), widths(heads=(6, 2))
    maps = leading(source, target)
    assert maps["query_heads"].source_J.tolist() == [0, 1, 2, 3, -1, -1, 4, 5, 6, 7, -1, -1]
    assert maps["key_value_heads"].is_identity


def test_dimensions_of_a_head_are_followed_within_it() -> None:
    maps = leading(widths(heads=(2, 2), head_width=2), widths(heads=(2, 2), head_width=3))
    assert maps["query_heads"].source_J.tolist() == [0, 1, -1, 2, 3, -1]
    assert maps["head_width"].source_J.tolist() == [0, 1, -1]


def test_rotary_dimensions_stay_in_their_pairs() -> None:
    wide, narrow = (widths(heads=(1, 1), head_width=w, is_rotary=True) for w in (8, 4))
    assert even(wide, narrow)["head_width"].source_J.tolist() == [0, 2, 4, 6]
    assert leading(wide, narrow)["head_width"].source_J.tolist() == [0, 1, 4, 5]
    grown_J = leading(narrow, wide)["head_width"].source_J
    assert grown_J.tolist() == [0, 1, -1, -1, 2, 3, -1, -1]
    # Pair i turns at base ** (-2 i / width): the frequencies of the pairs that are kept.
    kept_J = even(wide, narrow)["head_width"].source_J[:2]
    assert torch.equal(kept_J / 8, torch.arange(2) / 4)


def test_ranked_units_are_the_largest_of_their_layer() -> None:
    source, target = widths(heads=(4, 2)), widths(hidden=3, heads=(1, 1), intermediate=2)
    scores = Scores(
        hidden_D=torch.tensor([0.0, 9, 1, 8, 0, 0, 7, 0]),
        query_heads_NH=torch.tensor([[0.0, 1, 2, 3], [3, 4, 1, 0]]),
        key_value_heads_NG=torch.tensor([[0.0, 1], [1, 0]]),
        intermediate_NI=torch.tensor([[1.0, 2, 0, 0, 0, 0], [0, 0, 0, 4, 0, 5]]),
    )
    maps = [ranked(source, target, scores=scores, layer=layer) for layer in (0, 1)]
    assert [heads_followed(m) for m in maps] == [([3], [1]), ([1], [0])]
    assert [m["hidden"].source_J.tolist() for m in maps] == [[1, 3, 6]] * 2
    assert [m["intermediate"].source_J.tolist() for m in maps] == [[0, 1], [3, 5]]


def test_blocks_of_a_fused_projection_follow_one_after_the_other() -> None:
    axis = Axis(space="query_heads", blocks=("query_heads", "key_value_heads", "key_value_heads"))
    maps = leading(widths(heads=(2, 1)), widths(heads=(4, 2)))
    fused = axis_map(axis, maps, num_source=8, num_target=16)
    assert fused.num_source == 8
    assert fused.source_J.tolist() == [0, 1, 2, 3, *[-1] * 4, 4, 5, -1, -1, 6, 7, -1, -1]


@pytest.mark.parametrize("space", ["classes", "fixed"])
def test_spaces_that_no_width_decides_follow_their_first_indices(space: str) -> None:
    axis = Axis(space="classes" if space == "classes" else "fixed")
    index_map = axis_map(axis, leading(widths(), widths()), num_source=2, num_target=3)
    assert index_map.source_J.tolist() == [0, 1, -1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": 4}, "hidden_size is 4, the source's 8"),
        ({"heads": (2, 2)}, "num_heads is 2, the source's 4"),
        ({"heads": (4, 2)}, "num_key_value_heads is 2, the source's 4"),
        ({"intermediate": 5}, "intermediate_size is 5, the source's 6"),
        ({"head_width": 4}, "a head of the student is 4 wide, of the source 2"),
    ],
)
def test_growth_refuses_what_shrinks_or_changes_heads(
    change: dict[str, int], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        duplicated(widths(), widths(**change), generator=generator())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": 9}, "hidden_size is 9, the source's 8"),
        ({"heads": (8, 4)}, "num_heads is 8, the source's 4"),
        ({"head_width": 4}, "head width is 4, the source's 2"),
        ({"intermediate": 7}, "intermediate_size is 7, the source's 6"),
    ],
)
def test_selection_refuses_what_grows(change: dict[str, int], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        even(widths(), widths(**change))  # type: ignore[arg-type]
