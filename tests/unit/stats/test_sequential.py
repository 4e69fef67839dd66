"""Looks double, and share the error rate."""

import pytest
from raykd.stats.sequential import looks, sequential_p, shares


@pytest.mark.parametrize(
    ("first", "most", "expected"),
    [
        (3, 12, (3, 6, 12)),
        (3, 10, (3, 6, 10)),
        (5, 5, (5,)),
        (2, 3, (2, 3)),
        (3, 24, (3, 6, 12, 24)),
    ],
)
def test_looks_double_up_to_all_seeds(first: int, most: int, expected: tuple[int, ...]) -> None:
    assert looks(first, most) == expected


def test_each_look_spends_the_share_of_the_seeds_that_it_adds() -> None:
    assert shares((3, 6, 12)) == (0.25, 0.25, 0.5)
    assert sum(shares(looks(3, 23))) == pytest.approx(1.0)


def test_the_p_value_of_looks_is_the_least_of_theirs_at_their_shares() -> None:
    assert sequential_p([0.01], (3, 6, 12)) == pytest.approx(0.04)
    assert sequential_p([0.01, 0.009], (3, 6, 12)) == pytest.approx(0.036)
    assert sequential_p([0.01, 0.2, 0.001], (3, 6, 12)) == pytest.approx(0.002)
    assert sequential_p([0.9, 0.7], (3, 6, 12)) == 1.0


def test_one_look_at_all_seeds_costs_nothing() -> None:
    assert sequential_p([0.03], (12,)) == pytest.approx(0.03)
