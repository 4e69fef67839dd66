"""Means, intervals and Holm are those of a textbook."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raykd.stats.holm import holm
from raykd.stats.means import interval, is_flat
from scipy import stats


def test_the_interval_is_that_of_a_hand_computed_example() -> None:
    # Mean -0.2, standard deviation 0.1, error 0.1 / sqrt(4) = 0.05; t(3, 0.975) = 3.18245.
    differences = [-0.2 - 0.1 * math.sqrt(1.5), -0.2, -0.2, -0.2 + 0.1 * math.sqrt(1.5)]
    found = interval(differences)
    assert found is not None
    assert found.low == pytest.approx(-0.2 - 3.182446 * 0.05, abs=1e-6)
    assert found.high == pytest.approx(-0.2 + 3.182446 * 0.05, abs=1e-6)
    assert found.p == pytest.approx(stats.ttest_1samp(differences, 0.0).pvalue, rel=1e-9)


def test_an_interval_of_90_percent_is_that_of_scipy() -> None:
    values = [0.3, 0.5, 0.1, 0.9, 0.4]
    found = interval(values, level=0.9)
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.9)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)


@pytest.mark.parametrize("values", [[], [1.0], [0.0, 0.0], [0.3, 0.1 + 0.2]])
def test_values_without_a_spread_have_no_interval(values: list[float]) -> None:
    assert interval(values) is None


def test_values_that_differ_by_more_than_rounding_are_not_flat() -> None:
    assert is_flat([0.3, 0.1 + 0.2])
    assert not is_flat([0.3, 0.300001])


def test_holm_multiplies_the_smallest_by_the_number_of_tests_and_never_falls() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_keeps_order_and_lies_between_one_test_and_bonferroni(values: list[float]) -> None:
    adjusted = holm(values)
    for index, (p, own) in enumerate(zip(adjusted, values, strict=True)):
        assert own <= p <= min(1.0, len(values) * own)
        assert all(p <= q for q, other in zip(adjusted, values, strict=True) if own < other), index
