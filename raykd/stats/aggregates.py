"""One number over several tasks, with its interval, from a few seeds (rliable).

Agarwal et al., Deep reinforcement learning at the edge of the statistical precipice, NeurIPS 2021.

Dimension key: S seeds, T tasks, B bootstrap samples; ... whatever comes before.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_NUM_SAMPLES = 2000
_TRIMMED = 0.25


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A number and its 95 % interval, by the percentile bootstrap."""

    value: float
    low: float
    high: float


def interquartile_mean(scores_ST: Array) -> Estimate:
    """Return the mean of the middle half of all scores [S, T], comparable over tasks."""
    return _estimate(_iqm(scores_ST), _iqm(_resampled(scores_ST, stream=0)))


def probability_of_improvement(scores_ST: Array, others_ST: Array) -> Estimate:
    """Return the probability that a run of one kind scores more than one of the other.

    On a task picked at random; equal scores count a half: the mean over tasks of the Mann-Whitney
    statistic. 0.5 where neither is better.
    """
    samples = _resampled(scores_ST, stream=0), _resampled(others_ST, stream=1)
    return _estimate(_improvement(scores_ST, others_ST), _improvement(*samples))


def _iqm(scores_ST: Array) -> Array:
    scores = np.sort(scores_ST.reshape(*scores_ST.shape[:-2], -1), axis=-1)
    cut = int(_TRIMMED * scores.shape[-1])
    return np.asarray(scores[..., cut : scores.shape[-1] - cut].mean(axis=-1))


def _improvement(scores_ST: Array, others_ST: Array) -> Array:
    ours, theirs = scores_ST[..., :, None, :], others_ST[..., None, :, :]
    wins = (ours > theirs) + 0.5 * (ours == theirs)
    return np.asarray(wins.mean(axis=(-3, -2, -1)))


def _resampled(scores_ST: Array, *, stream: int) -> Array:
    """Return bootstrap samples [B, S, T]; the same in every process, others for each stream."""
    # Whole seeds, and not the runs of each task by themselves as rliable does: there a run has one
    # task, while here the tasks of a seed score one model, and are good or bad together. Drawn
    # apart, their noise would seem to cancel over tasks, and intervals would be too narrow.
    num_seeds = len(scores_ST)
    generator = np.random.default_rng([17, stream])
    return scores_ST[generator.integers(num_seeds, size=(_NUM_SAMPLES, num_seeds))]


def _estimate(value: Array, samples_B: Array) -> Estimate:
    low, high = np.percentile(samples_B, [2.5, 97.5])
    return Estimate(value=float(value), low=float(low), high=float(high))
