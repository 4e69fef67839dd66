"""Marks are round, inside and around the range; numbers are short and never raise."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from raykd.report.html.scales import nice_marks, number, scale

finite = st.floats(min_value=-1e12, max_value=1e12)


@pytest.mark.parametrize(
    ("low", "high", "marks"),
    [
        (0, 1, (0, 0.5, 1)),
        (0.12, 0.58, (0, 0.2, 0.4, 0.6)),
        (-0.04, 0.03, (-0.04, -0.02, 0, 0.02, 0.04)),
        (0, 2000, (0, 500, 1000, 1500, 2000)),
    ],
)
def test_marks_are_round_and_hold_the_range(
    low: float, high: float, marks: tuple[float, ...]
) -> None:
    assert nice_marks(low, high) == marks


@example(0.0, 5e-324)
@given(finite, finite)
def test_every_value_lies_inside_the_drawing(one: float, other: float) -> None:
    drawn = scale([one, other], start=10, end=110)

    assert 10 <= drawn(one) <= 110
    assert 10 <= drawn(other) <= 110
    assert 2 <= len(drawn.marks) <= 8


def test_marks_have_as_many_decimals_as_their_step_needs() -> None:
    drawn = scale([0.301, 0.309], start=0, end=1)

    assert [drawn.text(mark) for mark in drawn.marks[:2]] == ["0.300", "0.302"]


def test_long_marks_have_a_prefix() -> None:
    drawn = scale([0, 4e9], start=0, end=1)

    assert [drawn.text(mark) for mark in drawn.marks] == ["0", "1 G", "2 G", "3 G", "4 G"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.123456, "0.1235"),
        (-0.00001234, "\N{MINUS SIGN}0.00001234"),
        (12345.6, "12346"),
        (0.0, "0"),
        (None, "-"),
        (math.nan, "-"),
        (math.inf, "-"),
    ],
)
def test_numbers_show_significant_digits_or_a_dash(value: float | None, text: str) -> None:
    assert number(value) == text
