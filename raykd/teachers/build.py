"""From the sections teachers and teacher_weights to an ensemble.

Beside the dimension key of raykd.batch, N is teachers and G is languages, in the order of the
manifest.
"""

import logging
from collections.abc import Mapping
from functools import partial

import torch

from raykd.config.schema.teachers import TeacherWeightsConfig
from raykd.errors import ConfigError
from raykd.teachers.ensemble import PositionWeights, TeacherEnsemble
from raykd.teachers.live import Teacher
from raykd.teachers.weights import (
    entropies,
    entropy_weights,
    importance,
    margins,
    max_margin,
    table_weights,
)

logger = logging.getLogger(__name__)

Served = Mapping[str, tuple[str, ...] | None]
"""Teacher to the languages that it serves; None is all."""


def build_ensemble(
    config: TeacherWeightsConfig | None,
    teachers: Mapping[str, Teacher],
    *,
    served: Served,
    languages: tuple[str, ...],
    trained: tuple[str, ...],
    mean_margins_NG: torch.Tensor | None = None,
) -> TeacherEnsemble:
    """Return the teachers of a run as one; log the languages that no teacher counts in.

    Args:
        config: How they are weighted; None is uniform.
        teachers: By name, at least one.
        served: The languages of each.
        languages: Of the manifest; a batch's languages are indices into them.
        trained: Those that are trained on.
        mean_margins_NG: Of ``mean_margins``, where importance is per language.

    Raises:
        ConfigError: A language is unknown, or lacks the teacher that it should follow.
    """
    check_languages(config, served, languages=languages, trained=trained)
    ordered = {name: served[name] for name in teachers}
    serves_NG = served_table(ordered, languages)
    shares_NG = _shares(
        config,
        serves_NG,
        teachers=tuple(teachers),
        languages=languages,
        mean_margins_NG=mean_margins_NG,
    )
    counts_G = (shares_NG > 0).any(dim=0).tolist()
    counted = {language for language, counts in zip(languages, counts_G, strict=True) if counts}
    # No error: a language may be there for its labels, with a teacher in the others alone.
    if alone := [language for language in trained if language not in counted]:
        logger.info("no teacher counts in %s: the true labels alone train them", alone)
    return TeacherEnsemble(
        teachers, serves_NG=serves_NG, shares_NG=shares_NG, weigh=_position_weights(config)
    )


def check_languages(
    config: TeacherWeightsConfig | None,
    served: Served,
    *,
    languages: tuple[str, ...],
    trained: tuple[str, ...],
) -> None:
    """Refuse languages that the data does not have, and languages without their teacher.

    Args:
        config: How the teachers are weighted.
        served: The languages of each teacher.
        languages: Of the manifest.
        trained: Those that are trained on.

    Raises:
        ConfigError: The message names the key, and the languages that there are.
    """
    for name, of_teacher in served.items():
        _require_known(f"teachers.{name}.languages", of_teacher or (), languages)
    if config is None or config.by_language is None:
        return
    key, followed = "teacher_weights.by_language.teachers", config.by_language.teachers
    _require_known(key, tuple(followed), languages)
    if missing := sorted(set(trained) - set(followed)):
        message = (
            f"{key}: has no teacher for {missing}, which the run trains on; it names "
            f"{dict(followed)}: add them, or leave them out of data.languages"
        )
        raise ConfigError(message)
    for language, name in followed.items():
        of_teacher = served[name]
        if of_teacher is not None and language not in of_teacher:
            message = (
                f"{key}: {language} follows {name}, which serves {list(of_teacher)}; add it to "
                f"teachers.{name}.languages or name another teacher"
            )
            raise ConfigError(message)


def served_table(served: Served, languages: tuple[str, ...]) -> torch.Tensor:
    """Return whether each teacher serves each language, bool, shape [N, G]."""
    return torch.tensor(
        [
            [of_teacher is None or language in of_teacher for language in languages]
            for of_teacher in served.values()
        ]
    )


def _shares(
    config: TeacherWeightsConfig | None,
    serves_NG: torch.Tensor,
    *,
    teachers: tuple[str, ...],
    languages: tuple[str, ...],
    mean_margins_NG: torch.Tensor | None,
) -> torch.Tensor:
    """Return how much each teacher counts in each language, float64, shape [N, G]."""
    # float64: what a file gives is normalised once, before the ensemble rounds it to float32.
    weights_NG = torch.ones(serves_NG.shape, dtype=torch.float64)
    if (
        config is not None
        and config.importance is not None
        and config.importance.per == "language"
    ):
        if mean_margins_NG is None:
            message = "importance per language needs the mean margins of the teachers"
            raise ValueError(message)
        return importance(mean_margins_NG, serves_NG, temperature=config.importance.temperature)
    if config is not None and config.fixed is not None:
        weights_N = [config.fixed.weights[name] for name in teachers]
        weights_NG *= weights_NG.new_tensor(weights_N)[:, None]
    if config is not None and config.by_language is not None:
        followed = config.by_language.teachers
        weights_NG = weights_NG.new_tensor(
            [[followed.get(language) == name for language in languages] for name in teachers]
        )
    return table_weights(weights_NG, serves_NG)


def _position_weights(config: TeacherWeightsConfig | None) -> PositionWeights | None:
    if config is None:
        return None
    if config.importance is not None and config.importance.per == "example":
        temperature = config.importance.temperature
        return PositionWeights(
            measure=margins, combine=partial(importance, temperature=temperature)
        )
    if config.max_margin is not None:
        return PositionWeights(measure=margins, combine=max_margin)
    if config.entropy is not None:
        temperature = config.entropy.temperature
        return PositionWeights(
            measure=lambda logits_PK, _: entropies(logits_PK),
            combine=partial(entropy_weights, temperature=temperature),
        )
    return None


def _require_known(key: str, named: tuple[str, ...], languages: tuple[str, ...]) -> None:
    if unknown := sorted(set(named) - set(languages)):
        message = f"{key}: the data has no {unknown}; it has {sorted(languages)}"
        raise ConfigError(message)
