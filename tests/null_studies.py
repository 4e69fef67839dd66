"""Simulated studies of arms and controls, by how the noise of their runs is."""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]

NOISES = ("equal", "own", "two groups", "one extreme", "heavy tails")
"""Deviations of arms: all the same; drawn for each (inverse chi-square with 4 degrees of freedom);
half of the arms with ten times the variance; the first with ten times the deviation. Or Student's
t with 4 degrees of freedom."""


def differences(
    generator: np.random.Generator,
    shape: tuple[int, int],
    *,
    noise: str = "equal",
    num_controls: int | None = None,
) -> Array:
    """Return the differences of arms to their controls, by seed, where no arm differs.

    Args:
        generator: Source of the noise.
        shape: Arms and seeds.
        noise: One of NOISES.
        num_controls: Controls that the arms share evenly; None is one for each.
    """
    num_arms, num_seeds = shape
    own = _runs(generator, shape, noise) * _deviations(generator, num_arms, noise)[:, None]
    num_controls = num_controls or num_arms
    controls = _runs(generator, (num_controls, num_seeds), noise)
    return np.asarray(own - controls[np.arange(num_arms) % num_controls])


def most_alarms(num_studies: int) -> int:
    """Return the false alarms that a test at 5 % exceeds in one of 1,000 simulations at most."""
    return int(stats.binom.ppf(0.999, num_studies, 0.05))


def _runs(generator: np.random.Generator, shape: tuple[int, int], noise: str) -> Array:
    return (
        generator.standard_t(4, shape) if noise == "heavy tails" else generator.normal(size=shape)
    )


def _deviations(generator: np.random.Generator, num_arms: int, noise: str) -> Array:
    deviations = np.ones(num_arms)
    match noise:
        case "own":
            deviations = np.sqrt(4 / generator.chisquare(4, num_arms))
        case "two groups":
            deviations[: num_arms // 2] = 10**0.5
        case "one extreme":
            deviations[0] = 10.0
    return deviations
