"""What a few values tell of their spread: a limit that the true one seldom exceeds."""

import numpy as np
import pytest
from raykd.stats.spread import CONFIDENCE, deviation_limit
from scipy.stats import chi2


def test_the_limit_is_that_of_the_chi_squared_distribution() -> None:
    values = [1.0, 2.0, 4.0]
    expected = np.std(values, ddof=1) * np.sqrt(2 / chi2.ppf(1 - CONFIDENCE, df=2))
    assert deviation_limit([values]) == pytest.approx(expected, rel=1e-12)


def test_groups_about_different_means_tell_as_much_as_their_degrees_of_freedom() -> None:
    groups = [[1.0, 2.0, 3.0], [101.0, 103.0], [7.0], []]
    # Squares about the mean: 2 of the first, 2 of the second.
    expected = np.sqrt(4 / chi2.ppf(1 - CONFIDENCE, df=3))
    assert deviation_limit(groups) == pytest.approx(expected, rel=1e-12)


def test_values_that_do_not_differ_tell_nothing() -> None:
    assert deviation_limit([]) is None
    assert deviation_limit([[3.0], [2.0]]) is None
    assert deviation_limit([[2.0, 2.0, 2.0]]) is None


@pytest.mark.parametrize("num_values", [2, 3, 8])
def test_the_true_deviation_is_below_the_limit_as_often_as_is_said(num_values: int) -> None:
    num_studies = 4_000
    studies = np.random.default_rng(5).normal(size=(num_studies, num_values)).tolist()
    limits = [deviation_limit([values]) or 0.0 for values in studies]
    share = np.mean(np.array(limits) > 1)
    # Four standard errors of a share.
    noise = 4 * np.sqrt(CONFIDENCE * (1 - CONFIDENCE) / num_studies)
    assert share == pytest.approx(CONFIDENCE, abs=noise)
