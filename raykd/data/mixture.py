"""The share of each language in the rows that are drawn: pure arithmetic on numbers."""

import math
from collections.abc import Iterable, Mapping

from raykd.config.schema.data import AdaptiveMixingConfig, MixingConfig
from raykd.errors import ConfigError

_DECIMALS = 9
"""Decimals of an adaptive weight. Every worker computes it itself, and exp may differ in its last
bit between machines: rounded, all workers draw from the same numbers."""


def initial_weights(rows: Mapping[str, int], mixing: MixingConfig | None) -> dict[str, float]:
    """Return the share of each stream in the rows drawn before any evaluation; they sum to 1.

    Args:
        rows: Stream, that is language, to the rows it has.
        mixing: How languages are mixed; None draws in proportion to the rows.

    Raises:
        ConfigError: A fixed weight is missing or names a language that is not there.
    """
    weights: Mapping[str, float] = rows
    if mixing is not None and mixing.temperature is not None:
        exponent = mixing.temperature.exponent
        weights = {name: count**exponent for name, count in rows.items()}
    if mixing is not None and mixing.fixed is not None:
        weights = mixing.fixed.weights
        if set(weights) != set(rows):
            message = (
                f"data.mixing.fixed.weights must name the languages {sorted(rows)}, "
                f"got {sorted(weights)}"
            )
            raise ConfigError(message)
    if mixing is not None and mixing.adaptive is not None:
        weights = dict.fromkeys(rows, 1.0)
    total = sum(weights.values())
    return {name: weights[name] / total for name in rows}


def adaptive_weights(
    config: AdaptiveMixingConfig, languages: Iterable[str], *, gaps: Mapping[str, float]
) -> dict[str, float]:
    """Return the share of each language by how far the student is behind in it.

    The share is floor / G + (1 - floor) * softmax(gap / temperature) over the G languages (our
    reconstruction of the adaptive learning strategy of AMTSS, Chen et al., arXiv 2305.07928:
    its equations are not public; the floor is ours).

    Args:
        config: Temperature and floor.
        languages: That are trained on.
        gaps: Language to the accuracy of its best teacher minus the student's, from -1 to 1;
            a language that is not named has the gap 0.

    Returns:
        Language to share, of nine decimals; they sum to 1 but for the rounding.
    """
    of_language = {language: gaps.get(language, 0.0) for language in languages}
    # The largest is subtracted, which changes no ratio: exp cannot overflow.
    widest = max(of_language.values())
    powers = {
        language: math.exp((gap - widest) / config.temperature)
        for language, gap in of_language.items()
    }
    uniform, total = 1 / len(powers), sum(powers.values())
    return {
        language: round(config.floor * uniform + (1 - config.floor) * power / total, _DECIMALS)
        for language, power in powers.items()
    }
