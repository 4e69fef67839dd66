"""Which of many arms differ from their controls, with one error rate for all of them.

The statistic is a moderated t (Smyth, 2004). Its distribution is not looked up: that rests on
independent arms whose variances are of one kind, and errs in a sixth of all studies where one arm
is three times as unsteady as the others. It is made from the study itself. Where no arm differs,
normal differences, however they depend on one another over arms, are as likely in every rotation
of the seeds (Langsrud, 2005; ROAST, Wu et al., 2010): the largest statistic of each rotation shows
what the largest of the study may be by accident.

Dimension key: A arms, S seeds, R rotations, L arms that are left.
"""

from functools import cache

import numpy as np

from raykd.stats.means import SIGNIFICANCE
from raykd.stats.moderated import Array, prior_of_others

MANY = 8
"""Arms from which on it is used: with fewer it finds no more than Student's t."""

NUM_ROTATIONS = 4000

_ROUNDED = 1e-12
"""Statistics that differ by less than this share of their size are equal but for rounding."""


def adjusted_by_rotations(
    differences_AS: Array, *, num_arms: int, num_rotations: int = NUM_ROTATIONS
) -> list[float]:
    """Return the p values of the arms' means, adjusted for being many, in their order.

    Below 0.05 they have, together, a chance of at most 5 % that any is there by accident.
    Step-down: arms that are significant leave, and the others are tested again without them, until
    none is (Goeman and Solari, 2010).

    Args:
        differences_AS: Of arms whose pairs are all done; none is flat.
        num_arms: Arms of the study, with those that have no differences. They may be missing
            because of what was seen of them, so each counts as much as one that is there.
        num_rotations: Rotations, with the one that leaves the seeds where they are.
    """
    num_tested, num_seeds = differences_AS.shape
    along_AR = differences_AS @ _directions(num_seeds, num_rotations)
    squares_A = np.square(differences_AS).sum(axis=1)
    adjusted_A = np.ones(num_tested)
    left, largest_p = np.arange(num_tested), 0.0
    while left.size:
        t_LR = _moderated_t(along_AR[left], squares_A[left], num_seeds)
        highest_R = np.sort(t_LR.max(axis=0))
        num_higher_L = num_rotations - np.searchsorted(highest_R, t_LR[:, 0] * (1 - _ROUNDED))
        # The largest of many such sets is beyond a value in at most as many times more cases.
        num_sets = (num_arms - num_tested + left.size) / left.size
        p_L = np.minimum(num_sets * num_higher_L / num_rotations, 1.0)
        adjusted_A[left] = np.maximum(p_L, largest_p)
        is_found_L = p_L < SIGNIFICANCE
        if not is_found_L.any():
            break
        largest_p = max(largest_p, float(p_L[is_found_L].max()))
        left = left[~is_found_L]
    return [float(p) for p in adjusted_A]


@cache
def _directions(num_seeds: int, num_rotations: int) -> Array:
    """Return where rotations take the direction of equal differences: unit vectors [S, R].

    The first is that direction itself. They are the same in every process.
    """
    random_SR = np.random.default_rng(17).normal(size=(num_seeds, num_rotations))
    random_SR[:, 0] = 1.0
    return np.asarray(random_SR / np.linalg.norm(random_SR, axis=0))


def _moderated_t(along_LR: Array, squares_L: Array, num_seeds: int) -> Array:
    """Return |moderated t| of each arm in each rotation [L, R].

    A rotation keeps the sum of squares of an arm: what lies along its direction is its mean times
    the root of the number of seeds, what is left its variance times the degrees of freedom.
    """
    freedom = num_seeds - 1
    # What rounding leaves may be below 0.
    least_L1 = np.finfo(float).eps * squares_L[:, None]
    variance_LR = np.maximum(squares_L[:, None] - along_LR**2, least_L1) / freedom
    # Of the study as it is, for all rotations: they turn differences into variance, so that arms
    # that differ would make priors of their own seem vague, and the others stand out.
    prior = prior_of_others(variance_LR[:, 0], freedom)
    return np.asarray(np.abs(along_LR) / np.sqrt(prior.shrunk(variance_LR, freedom)))
