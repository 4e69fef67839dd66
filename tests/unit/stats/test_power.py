"""What is said to be found in 80 % of cases is, and by no fewer seeds."""

import numpy as np
import pytest
from raykd.config.schema.questions import EXPECTED
from raykd.stats.expectations import critical_t
from raykd.stats.power import detectable, seeds_for
from scipy import stats


@pytest.mark.parametrize("num_seeds", [2, 3, 5, 12])
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 18])
@pytest.mark.parametrize("expect", ["better", "different", "alike", "no worse"])
def test_the_detectable_difference_is_found_in_80_percent(
    num_seeds: int, alpha: float, expect: EXPECTED
) -> None:
    size = detectable(num_seeds, expect=expect, alpha=alpha)
    assert size is not None
    noise = np.random.default_rng(21).normal(size=(100_000, num_seeds))
    mean, error = noise.mean(1), noise.std(1, ddof=1) / num_seeds**0.5
    critical = critical_t(expect, freedom=num_seeds - 1, alpha=alpha) * error
    found = np.abs(mean) < size - critical if expect == "alike" else mean + size > critical
    # Four standard errors of 100,000 draws.
    assert found.mean() == pytest.approx(0.8, abs=0.005)


def test_power_is_that_of_the_noncentral_t() -> None:
    size = detectable(5, expect="better", alpha=0.05, power=0.9)
    assert size is not None
    power = stats.nct.sf(stats.t.isf(0.025, 4), 4, size * 5**0.5)
    assert power == pytest.approx(0.9, abs=1e-6)


def test_one_seed_finds_nothing() -> None:
    assert detectable(1, expect="better", alpha=0.05) is None


@pytest.mark.parametrize("expect", ["better", "alike", "no worse"])
def test_as_many_seeds_as_are_said_find_it_and_one_less_does_not(expect: EXPECTED) -> None:
    num_seeds = seeds_for(0.7, expect=expect, alpha=0.01)
    assert num_seeds is not None
    enough = detectable(num_seeds, expect=expect, alpha=0.01)
    too_few = detectable(num_seeds - 1, expect=expect, alpha=0.01)
    assert enough is not None
    assert too_few is not None
    assert enough <= 0.7 < too_few


def test_a_difference_that_needs_more_seeds_than_there_can_be_has_no_number() -> None:
    assert seeds_for(0.01, expect="better", alpha=0.05, most=500) is None
    assert seeds_for(100.0, expect="better", alpha=0.05) == 2
