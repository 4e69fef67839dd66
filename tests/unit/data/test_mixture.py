"""Adaptive shares: the formula, its limits, and a floor under every language."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raykd.config.schema.data import AdaptiveMixingConfig, MixingConfig
from raykd.data.mixture import adaptive_weights, initial_weights

GAPS = {"de": 0.1, "en": -0.05, "sw": 0.3}


def adaptive(*, temperature: float = 0.1, floor: float = 0.5) -> AdaptiveMixingConfig:
    return AdaptiveMixingConfig(temperature=temperature, floor=floor)


def test_shares_are_those_of_the_formula() -> None:
    found = adaptive_weights(adaptive(temperature=0.2, floor=0.4), GAPS, gaps=GAPS)
    powers = {language: math.exp(gap / 0.2) for language, gap in GAPS.items()}
    assert found == pytest.approx(
        {
            language: 0.4 / 3 + 0.6 * power / sum(powers.values())
            for language, power in powers.items()
        },
        abs=1e-9,
    )


def test_shares_are_uniform_before_the_first_evaluation_and_at_equal_gaps() -> None:
    rows = {"de": 7, "en": 1000, "sw": 3}
    before = initial_weights(rows, MixingConfig(adaptive=adaptive()))
    assert before == dict.fromkeys(rows, 1 / 3)
    equal = adaptive_weights(adaptive(), rows, gaps=dict.fromkeys(rows, -0.2))
    assert equal == pytest.approx(before, abs=1e-9)


def test_low_temperature_gives_the_worst_language_all_above_the_floor() -> None:
    found = adaptive_weights(adaptive(temperature=1e-6, floor=0.3), GAPS, gaps=GAPS)
    assert found == pytest.approx({"de": 0.1, "en": 0.1, "sw": 0.8})


def test_a_floor_of_one_is_uniform() -> None:
    found = adaptive_weights(adaptive(floor=1.0), GAPS, gaps=GAPS)
    assert found == pytest.approx(dict.fromkeys(GAPS, 1 / 3))


def test_a_language_without_a_gap_has_the_gap_zero_and_others_are_ignored() -> None:
    found = adaptive_weights(adaptive(), ["de", "fr"], gaps=GAPS)
    assert found == adaptive_weights(adaptive(), ["de", "fr"], gaps={"de": 0.1, "fr": 0.0})
    assert list(found) == ["de", "fr"]


@given(
    gaps=st.dictionaries(st.text(max_size=3), st.floats(-1, 1), min_size=1, max_size=20),
    temperature=st.floats(1e-3, 10),
    floor=st.floats(0.01, 1),
)
def test_shares_sum_to_one_and_none_is_below_its_floor(
    gaps: dict[str, float], temperature: float, floor: float
) -> None:
    found = adaptive_weights(adaptive(temperature=temperature, floor=floor), gaps, gaps=gaps)
    assert sum(found.values()) == pytest.approx(1, abs=1e-7)
    assert min(found.values()) >= floor / len(gaps) - 1e-8


def test_the_last_bits_of_a_gap_change_no_share() -> None:
    config = adaptive(temperature=0.07)
    nudged = {language: math.nextafter(gap, 1) for language, gap in GAPS.items()}
    assert nudged != GAPS
    found = adaptive_weights(config, GAPS, gaps=GAPS)
    assert adaptive_weights(config, GAPS, gaps=nudged) == found
    assert all(round(share, 9) == share for share in found.values())
