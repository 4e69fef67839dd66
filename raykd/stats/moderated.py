"""Variances of many arms, shrunk to what they have in common (limma, Smyth, 2004).

The variance of an arm over few seeds is hardly known. That of many arms together is: it is the
prior that each is drawn to, the more the more alike they are.

Dimension key: A arms, R samples of the variance of each.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, polygamma

Array = NDArray[np.float64]

_LEAST_SPREAD = 1e-6
_NEWTON_STEPS = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Prior:
    """A scaled inverse chi-square distribution of true variances; one for each arm: [A] or []."""

    variance: Array
    freedom: Array
    """As many degrees of freedom as an own variance has to outweigh: infinite where variances
    differ no more than they would by chance, 0 where there are too few to tell."""

    def shrunk(self, variance_AR: Array, freedom: int) -> Array:
        """Return the posterior means of variances with so many degrees of freedom."""
        with np.errstate(divide="ignore"):
            weight = 1 / (1 + freedom / self.freedom[..., None])
        return np.asarray(weight * self.variance[..., None] + (1 - weight) * variance_AR)


def prior_of(variances: Array, freedom: int) -> Prior:
    """Return the prior of sample variances > 0, along the first axis, that have freedom each.

    The moments of log variances are fitted by those of a scaled F distribution (Smyth, 2004,
    section 6.2).
    """
    if len(variances) < 2:  # noqa: PLR2004  a spread needs two
        shape = variances.shape[1:]
        return Prior(variance=np.ones(shape), freedom=np.zeros(shape))
    half = freedom / 2
    logs = np.log(variances) - digamma(half) + np.log(half)
    excess = logs.var(axis=0, ddof=1) - polygamma(1, half)
    # Below this the variances differ no more than by chance, for any purpose.
    is_alike = excess < _LEAST_SPREAD
    own_half = trigamma_inverse(np.maximum(excess, _LEAST_SPREAD))
    shift = np.where(is_alike, 0.0, digamma(own_half) - np.log(own_half))
    return Prior(
        variance=np.exp(logs.mean(axis=0) + shift),
        freedom=np.where(is_alike, np.inf, 2 * own_half),
    )


def prior_of_others(variances_A: Array, freedom: int) -> Prior:
    """Return for each arm the prior of the variances of all other arms."""
    # Without its own, which would be drawn to itself: over few arms a t of a variance that is low
    # by accident, and takes the prior with it, is significant too often.
    num_arms = len(variances_A)
    is_other_AA = ~np.eye(num_arms, dtype=bool)
    others_AA = np.tile(variances_A, (num_arms, 1))[is_other_AA].reshape(num_arms, num_arms - 1)
    return prior_of(others_AA.T, freedom)


def trigamma_inverse(values: Array) -> Array:
    """Return where the trigamma function has these values > 0 (Smyth, 2004, appendix)."""
    found = 0.5 + 1 / values
    # Newton on 1 / trigamma, which is nearly a straight line.
    for _ in range(_NEWTON_STEPS):
        trigamma = polygamma(1, found)
        found = found + trigamma * (1 - trigamma / values) / polygamma(2, found)
    return np.asarray(found)
