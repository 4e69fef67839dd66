"""Steps of a bucket keep their numbers of rows, and each has rows of like length."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from raykd.config.schema.data import AdaptiveMixingConfig, DataConfig, MixingConfig
from raykd.data.stream import bucket_order, steps_by_length

ROWS = st.lists(
    st.tuples(st.integers(1, 50), st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=80
)


@given(rows=ROWS, seed=st.integers(0, 5))
def test_every_step_keeps_its_rows_of_every_lane(
    rows: list[tuple[int, int, int]], seed: int
) -> None:
    lengths_B, lanes_B, steps_B = (np.array(column) for column in zip(*rows, strict=True))
    order = bucket_order(5, seed=seed, bucket=0)
    exchanged_B = steps_by_length(lengths_B, lanes_B=lanes_B, steps_B=steps_B, order=order)
    before = Counter(zip(lanes_B.tolist(), steps_B.tolist(), strict=True))
    assert Counter(zip(lanes_B.tolist(), exchanged_B.tolist(), strict=True)) == before
    rank = np.argsort(order)
    for lane in set(lanes_B.tolist()):
        of_lane = lanes_B == lane
        by_rank = lengths_B[of_lane][np.argsort(rank[exchanged_B[of_lane]], kind="stable")]
        steps = np.sort(rank[exchanged_B[of_lane]])
        for first, second in zip(range(len(steps)), range(1, len(steps)), strict=False):
            if steps[first] < steps[second]:
                assert by_rank[steps == steps[first]].max() <= by_rank[second]


def test_little_is_padded() -> None:
    generator = np.random.default_rng(0)
    lengths_B = generator.geometric(1 / 20, size=64 * 16).clip(2, 128)
    steps_B = np.repeat(np.arange(16), 64)
    lanes_B = np.tile(np.arange(8), 128)
    order = bucket_order(16, seed=0, bucket=0)
    exchanged_B = steps_by_length(lengths_B, lanes_B=lanes_B, steps_B=steps_B, order=order)

    def padded_share(of_step_B: np.ndarray) -> float:
        longest = [lengths_B[of_step_B == step].max() for step in range(16)]
        return 1 - float(lengths_B.sum()) / (64 * float(sum(longest)))

    assert padded_share(steps_B) > 0.7
    assert padded_share(exchanged_B) < 0.3


def test_which_step_gets_the_long_rows_differs_between_buckets() -> None:
    orders = {tuple(bucket_order(8, seed=1, bucket=bucket).tolist()) for bucket in range(20)}
    assert len(orders) == 20


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (DataConfig(uri="x", bucket_steps=0), "data.bucket_steps must be >= 1, got 0"),
        (
            DataConfig(
                uri="x", bucket_steps=4, mixing=MixingConfig(adaptive=AdaptiveMixingConfig())
            ),
            "data.bucket_steps is 4, but with data.mixing.adaptive",
        ),
    ],
)
def test_what_cannot_be_is_a_problem(config: DataConfig, problem: str) -> None:
    (found,) = config.problems()
    assert found.startswith(problem)
