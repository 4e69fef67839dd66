"""Aggregates over tasks are those of rliable, but for what is drawn again: whole seeds."""

import numpy as np
import pytest
from raykd.stats.aggregates import interquartile_mean, probability_of_improvement
from scipy import stats


def test_the_interquartile_mean_is_the_trimmed_mean_of_all_scores() -> None:
    generator = np.random.default_rng(61)
    for shape in ((3, 2), (5, 7), (10, 4)):
        scores = generator.normal(size=shape)
        expected = stats.trim_mean(scores, 0.25, axis=None)
        assert interquartile_mean(scores).value == pytest.approx(expected)


def test_one_broken_task_does_not_move_the_interquartile_mean() -> None:
    scores = np.array([[0.5, 0.6, 0.7, 0.8, -90.0]] * 3)
    assert 0.5 <= interquartile_mean(scores).value <= 0.8


def test_the_probability_of_improvement_is_the_mean_of_mann_whitney_over_tasks() -> None:
    generator = np.random.default_rng(62)
    # Rounded, so that some are equal.
    ours, theirs = (
        generator.normal(0.5, 1, (6, 3)).round(1),
        generator.normal(0, 1, (4, 3)).round(1),
    )
    expected = np.mean(
        [stats.mannwhitneyu(ours[:, t], theirs[:, t]).statistic / 24 for t in range(3)]
    )
    assert probability_of_improvement(ours, theirs).value == pytest.approx(expected)


def test_an_arm_against_itself_improves_in_half_of_all_cases() -> None:
    scores = np.random.default_rng(63).normal(size=(5, 4))
    found = probability_of_improvement(scores, scores)
    assert found.value == 0.5
    assert found.low < 0.5 < found.high


def test_whole_seeds_are_drawn_again_so_that_more_tasks_are_no_more_seeds() -> None:
    seeds = np.random.default_rng(64).normal(size=(6, 1))
    one, many = interquartile_mean(seeds), interquartile_mean(np.repeat(seeds, 20, axis=1))
    # The quartiles of copies are cut elsewhere, but the interval stays as wide.
    assert many.high - many.low == pytest.approx(one.high - one.low, rel=0.25)
    # Drawn by task, as rliable does, copies would seem to be twenty runs.
    generator = np.random.default_rng(65)
    columns = np.repeat(seeds, 20, axis=1)
    apart = [
        stats.trim_mean(
            np.take_along_axis(columns, generator.integers(6, size=(6, 20)), 0), 0.25, axis=None
        )
        for _ in range(500)
    ]
    assert np.ptp(np.percentile(apart, [2.5, 97.5])) < 0.5 * (many.high - many.low)


def test_an_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(66)
    found = [interquartile_mean(generator.normal(size=(20, 4))) for _ in range(200)]
    held = np.mean([estimate.low < 0 < estimate.high for estimate in found])
    # Percentile intervals of 20 seeds are a little short.
    assert 0.87 < held <= 1.0


def test_the_same_scores_give_the_same_interval() -> None:
    scores = np.random.default_rng(67).normal(size=(5, 3))
    assert interquartile_mean(scores) == interquartile_mean(scores.copy())
