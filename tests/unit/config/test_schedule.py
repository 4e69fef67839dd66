"""Schedules: what each way of writing one means, and which texts are none."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raykd.config.schedule import parse_schedule, schedule_problems

fractions = st.floats(0, 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", {0.0: 1.0, 0.3: 1.0, 1.0: 1.0}),
        ("-2.5e-3", {0.0: -0.0025, 1.0: -0.0025}),
        ("3 @ 0.5", {0.0: 3.0, 0.5: 3.0, 1.0: 3.0}),
        ("4 -> 1", {0.0: 4.0, 0.5: 2.5, 1.0: 1.0}),
        ("4->1", {0.0: 4.0, 0.5: 2.5, 1.0: 1.0}),
        ("-1 -> -3", {0.0: -1.0, 0.5: -2.0, 1.0: -3.0}),
        ("1e-2 -> 1e-4", {0.0: 1e-2, 1.0: 1e-4}),
        ("0 -> 4 -> 0", {0.0: 0.0, 0.25: 2.0, 0.5: 4.0, 0.75: 2.0, 1.0: 0.0}),
        ("4 ~> 0", {0.0: 4.0, 0.25: 2 + math.sqrt(2), 0.5: 2.0, 1.0: 0.0}),
        ("0 ~> 2 -> 4", {0.125: 1 - math.sqrt(0.5), 0.25: 1.0, 0.75: 3.0, 1.0: 4.0}),
        ("4 @ 0.5 -> 1", {0.0: 4.0, 0.5: 4.0, 0.75: 2.5, 1.0: 1.0}),
        ("4 @ 0.2 -> 1 @ 0.6", {0.1: 4.0, 0.2: 4.0, 0.4: 2.5, 0.6: 1.0, 0.9: 1.0}),
        ("4 @ 0.5 -> 1 @ 0.5", {0.0: 4.0, 0.49: 4.0, 0.5: 1.0, 1.0: 1.0}),
        ("4 @ 0.5 ~> 1 @ 0.5", {0.49: 4.0, 0.5: 1.0}),
        ("1 @ 0.3 -> 2 @ 0.3 -> 2 @ 0.6 -> 3 @ 0.6", {0.1: 1.0, 0.3: 2.0, 0.5: 2.0, 0.7: 3.0}),
    ],
)
def test_a_schedule_has_the_documented_values(text: str, expected: dict[float, float]) -> None:
    schedule = parse_schedule(text)
    assert {progress: schedule.at(progress) for progress in expected} == pytest.approx(expected)


@given(
    values=st.lists(st.floats(-100, 100), min_size=1, max_size=5),
    arrow=st.sampled_from(["->", "~>"]),
    progress=fractions,
)
def test_a_schedule_stays_between_its_extremes(
    values: list[float], arrow: str, progress: float
) -> None:
    schedule = parse_schedule(f" {arrow} ".join(map(repr, values)))
    assert schedule.values == tuple(values)
    assert min(values) - 1e-9 <= schedule.at(progress) <= max(values) + 1e-9


@given(first=st.floats(-100, 100), last=st.floats(-100, 100), arrow=st.sampled_from(["->", "~>"]))
def test_the_ends_are_exact(first: float, last: float, arrow: str) -> None:
    schedule = parse_schedule(f"{first!r} {arrow} {last!r}")
    assert (schedule.at(0.0), schedule.at(1.0)) == (first, last)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "x", "1 2", "nan", "inf", "1 -> -inf"),
        *("->", "1 ->", "-> 1", "1 -> -> 2", "1 => 2"),
        *("4 @", "4 @ x", "4 @ 0 @ 1"),
    ],
)
def test_what_is_no_schedule_is_refused_with_the_text(text: str) -> None:
    with pytest.raises(ValueError, match="is not a schedule: write '1'") as error:
        parse_schedule(text)
    assert str(error.value).startswith(repr(text))


@pytest.mark.parametrize(
    "text", ["4 @ -0.1", "4 @ 1.5", "4 @ nan", "4 @ 0.8 -> 1 @ 0.2", "4 @ 0.8 -> 2 -> 1"]
)
def test_fractions_that_do_not_rise_from_0_to_1_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="the fractions after @ must rise from 0 to 1"):
        parse_schedule(text)


def test_problems_name_the_key_and_the_text() -> None:
    assert schedule_problems("losses.x.weight", "4 -> 0", minimum=0) == []
    assert schedule_problems("losses.x.weight", "4 -> -1", minimum=0) == [
        "losses.x.weight must be >= 0, got '4 -> -1'"
    ]
    assert schedule_problems("losses.x.temperature", "4 -> 0", minimum=0, exclusive=True) == [
        "losses.x.temperature must be > 0, got '4 -> 0'"
    ]
    (problem,) = schedule_problems("losses.x.weight", "many", minimum=0)
    assert problem.startswith("losses.x.weight: 'many' is not a schedule")
