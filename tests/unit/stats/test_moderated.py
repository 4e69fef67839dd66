"""Variances of many arms have the prior that they were drawn from."""

import numpy as np
import pytest
from raykd.stats.moderated import prior_of, prior_of_others, trigamma_inverse
from raykd.stats.rotations import adjusted_by_rotations
from scipy import stats
from scipy.special import polygamma


def test_the_inverse_of_trigamma_is_one() -> None:
    values = np.array([1e-6, 0.01, 1.0, 30.0, 100.0])
    assert polygamma(1, trigamma_inverse(values)) == pytest.approx(values, rel=1e-9)


def test_the_prior_that_variances_were_drawn_from_is_found() -> None:
    generator = np.random.default_rng(51)
    true = 0.3 * 10 / generator.chisquare(10, 40_000)
    prior = prior_of(true * generator.chisquare(3, 40_000) / 3, 3)
    assert float(prior.variance) == pytest.approx(0.3, rel=0.02)
    assert float(prior.freedom) == pytest.approx(10, rel=0.08)


def test_variances_that_differ_by_chance_alone_become_one() -> None:
    # Quantiles of one distribution, which spread less than draws of it.
    variances = stats.chi2.ppf(np.linspace(0.1, 0.9, 9), 4) / 4
    prior = prior_of(variances, 4)
    assert np.isinf(prior.freedom)
    assert prior.shrunk(variances[:, None], 4) == pytest.approx(
        np.full((9, 1), float(prior.variance))
    )


def test_a_hand_computed_posterior_lies_between_variance_and_prior() -> None:
    variances = np.array([0.01, 0.2, 1.0, 30.0])
    prior = prior_of(variances, 2)
    # With 2 degrees of freedom the mean log is log of the variance plus 0.5772, and trigamma(1) is
    # 1.6449; the spread of the logs beyond it is trigamma of half the prior's freedom.
    spread = np.log(variances).var(ddof=1) - np.pi**2 / 6
    assert polygamma(1, float(prior.freedom) / 2) == pytest.approx(spread)
    weight = float(prior.freedom) / (float(prior.freedom) + 2)
    expected = weight * float(prior.variance) + (1 - weight) * variances
    assert prior.shrunk(variances[:, None], 2)[:, 0] == pytest.approx(expected)


def test_the_prior_of_an_arm_is_that_of_the_others() -> None:
    variances = np.array([0.5, 1.0, 2.0, 8.0, 0.1])
    others = prior_of_others(variances, 2)
    for arm in range(5):
        alone = prior_of(np.delete(variances, arm), 2)
        assert others.variance[arm] == pytest.approx(float(alone.variance))
        assert others.freedom[arm] == pytest.approx(float(alone.freedom))


def test_one_arm_is_tested_by_students_t() -> None:
    differences = np.array([[0.4, 0.9, 0.2, 0.7]])
    (p,) = adjusted_by_rotations(differences, num_arms=1, num_rotations=100_000)
    assert p == pytest.approx(stats.ttest_1samp(differences[0], 0.0).pvalue, rel=0.1)


def test_effects_that_three_seeds_never_show_one_by_one_are_found_among_many() -> None:
    differences = np.random.default_rng(52).normal(size=(60, 3))
    differences[:4] += 8.0
    found = adjusted_by_rotations(differences, num_arms=60)
    assert [p < 0.05 for p in found] == [True] * 4 + [False] * 56


def test_neither_units_nor_the_order_of_arms_matter() -> None:
    differences = np.random.default_rng(54).normal(size=(12, 4)) + 1.0
    found = adjusted_by_rotations(differences, num_arms=12)
    assert found == adjusted_by_rotations(differences * 1e-3, num_arms=12)
    assert found == adjusted_by_rotations(differences[::-1], num_arms=12)[::-1]


def test_each_arm_that_is_missing_counts_as_one_that_is_there() -> None:
    differences = np.random.default_rng(55).normal(size=(10, 5))
    found = adjusted_by_rotations(differences, num_arms=10)
    beside = adjusted_by_rotations(differences, num_arms=20)
    assert min(found) > 0.05
    assert beside == pytest.approx([min(1.0, 2 * p) for p in found])
