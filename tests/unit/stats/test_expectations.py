"""A claim is a yes where it is significant, and a no where its opposite is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raykd.config.schema.questions import EXPECTED, WITH_MARGIN
from raykd.stats import expectations
from raykd.stats.expectations import smallest
from scipy import stats

CLAIMS: tuple[EXPECTED, ...] = ("better", "worse", "different", "alike", "no worse")
VALUES = [0.3, 0.5, 0.1, 0.9, 0.4]


def p_values(values: list[float], expect: EXPECTED, *, sign: int = 1) -> tuple[float, float]:
    margin = 1.0 if expect in WITH_MARGIN else None
    found = expectations.tested(values, expect=expect, margin=margin, sign=sign)
    assert found is not None
    return found.p_yes, found.p_no


def one_sided(values: list[float], null: float, alternative: str) -> float:
    return float(stats.ttest_1samp(values, null, alternative=alternative).pvalue)


def test_better_worse_and_different_have_the_two_sided_p_of_a_t_test() -> None:
    p = float(stats.ttest_1samp(VALUES, 0.0).pvalue)
    assert p_values(VALUES, "better") == pytest.approx((p, 1.0))
    assert p_values(VALUES, "worse") == pytest.approx((1.0, p))
    assert p_values(VALUES, "different") == pytest.approx((p, 1.0))


def test_alike_is_two_one_sided_tests_and_its_opposite_two_sided() -> None:
    below, above = one_sided(VALUES, 1.0, "less"), one_sided(VALUES, -1.0, "greater")
    assert p_values(VALUES, "alike")[0] == pytest.approx(max(below, above))
    beyond = [value + 2.0 for value in VALUES]
    expected = float(stats.ttest_1samp(beyond, 1.0).pvalue)
    assert p_values(beyond, "alike") == pytest.approx((one_sided(beyond, 1.0, "less"), expected))


def test_no_worse_is_one_sided_to_the_end_of_the_margin() -> None:
    low = [value - 1.2 for value in VALUES]
    expected = one_sided(low, -1.0, "greater"), one_sided(low, -1.0, "less")
    assert p_values(low, "no worse") == pytest.approx(expected)


@given(st.lists(st.floats(-5, 5), min_size=3, max_size=8), st.sampled_from(CLAIMS))
def test_where_less_is_better_the_values_count_negated(
    values: list[float], expect: EXPECTED
) -> None:
    margin = 1.0 if expect in WITH_MARGIN else None
    more = expectations.tested(values, expect=expect, margin=margin, sign=1)
    less = expectations.tested([-value for value in values], expect=expect, margin=margin, sign=-1)
    if more is None or less is None:
        assert more is less is None
        return
    assert (less.p_yes, less.p_no) == pytest.approx((more.p_yes, more.p_no))
    # The interval stays that of the values themselves.
    assert (less.low, less.high) == pytest.approx((-more.high, -more.low))


@given(st.lists(st.floats(-3, 3), min_size=3, max_size=8), st.floats(0.1, 3))
def test_the_interval_says_what_the_test_says(values: list[float], margin: float) -> None:
    alike = expectations.tested(values, expect="alike", margin=margin, sign=1)
    better = expectations.tested(values, expect="better", margin=None, sign=1)
    if alike is None or better is None:
        return
    assert (alike.level, better.level) == (0.9, 0.95)
    assert (alike.p_yes < 0.05) == (-margin < alike.low and alike.high < margin)
    assert (better.p_yes < 0.05) == (better.low > 0)


@pytest.mark.parametrize("expect", CLAIMS)
def test_values_without_a_spread_say_nothing(expect: EXPECTED) -> None:
    for values in ([0.5], [0.5, 0.5, 0.5]):
        assert expectations.tested(values, expect=expect, margin=1.0, sign=1) is None
        assert smallest(values, expect=expect, alpha=0.05) is None


@pytest.mark.parametrize("expect", CLAIMS)
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_values_at_the_smallest_distance_have_a_p_of_alpha(expect: EXPECTED, alpha: float) -> None:
    distance = smallest(VALUES, expect=expect, alpha=alpha)
    assert distance is not None
    margin = 3.0 if expect in WITH_MARGIN else 0.0
    mean = sum(VALUES) / len(VALUES)
    target = {"worse": -distance, "alike": margin - distance, "no worse": distance - margin}
    moved = [value - mean + target.get(expect, distance) for value in VALUES]
    found = expectations.tested(moved, expect=expect, margin=margin, sign=1)
    assert found is not None
    assert found.p_yes == pytest.approx(alpha)
