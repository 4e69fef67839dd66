"""Every row has one position, at any number of lanes and workers."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from raykd.data.order import drawn_rows, epoch_order

batch_sizes = st.lists(st.integers(1, 9), min_size=1, max_size=30)


@given(batch_rows=batch_sizes, num_lanes=st.integers(1, 20), seed=st.integers(0, 99))
@settings(deadline=None)
def test_every_record_batch_is_dealt_once(
    batch_rows: list[int], num_lanes: int, seed: int
) -> None:
    order = epoch_order(batch_rows, num_lanes=num_lanes, seed=seed, epoch=0)
    assert sorted(np.concatenate(order.lanes)) == list(range(len(batch_rows)))
    assert order.rows_per_lane.sum() == sum(batch_rows)


@given(batch_rows=batch_sizes, num_lanes=st.integers(1, 20), seed=st.integers(0, 99))
@settings(deadline=None)
def test_positions_walk_over_the_lanes_and_pass_over_ended_ones(
    batch_rows: list[int], num_lanes: int, seed: int
) -> None:
    order = epoch_order(batch_rows, num_lanes=num_lanes, seed=seed, epoch=0)
    walked = [
        lane
        for row in range(max(order.rows_per_lane))
        for lane in range(num_lanes)
        if row < order.rows_per_lane[lane]
    ]
    expected = np.zeros(num_lanes, dtype=np.int64)
    for position, lane in enumerate(walked):
        assert order.rows_before(position).tolist() == expected.tolist()
        expected[lane] += 1
    assert order.rows_before(len(walked)).tolist() == expected.tolist()


def test_equal_lanes_follow_the_formula() -> None:
    order = epoch_order([4] * 6, num_lanes=3, seed=0, epoch=0)
    for position in range(24):
        grown = order.rows_before(position + 1) - order.rows_before(position)
        assert grown.argmax() == position % 3
        assert order.rows_before(position)[position % 3] == position // 3


def test_epochs_streams_and_seeds_differ() -> None:
    def lanes(seed: int, epoch: int, stream: int) -> list[list[int]]:
        order = epoch_order([1] * 50, num_lanes=2, seed=seed, epoch=epoch, stream=stream)
        return [lane.tolist() for lane in order.lanes]

    assert lanes(0, 0, 0) == lanes(0, 0, 0)
    assert len({str(lanes(*key)) for key in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]}) == 4


def test_draws_follow_the_weights_and_fill_the_step() -> None:
    total = np.zeros(3)
    for step in range(2_000):
        drawn = drawn_rows([1, 2, 7], num_rows=10, seed=3, step=step)
        assert sum(drawn) == 10
        total += drawn
    np.testing.assert_allclose(total / total.sum(), [0.1, 0.2, 0.7], atol=0.01)
