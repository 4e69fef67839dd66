"""A student with a projection per language: which languages, and where a new one begins."""

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

from raykd.batch import Batch
from raykd.config.schema.run import RunConfig
from raykd.errors import ConfigError
from raykd.losses.cross_entropy import cross_entropy
from raykd.models.per_language import PerLanguageModel, with_languages
from raykd.models.scored import ScoredModel

_BATCHES_TO_COMPARE = 8
"""Micro-batches of a new language that the projections of the others are tried on."""

logger = logging.getLogger(__name__)

BatchesOf = Callable[[str], Iterator[Batch]]
"""From a language to micro-batches of its training rows, on the student's device."""


def with_projections(
    model: Any,
    config: RunConfig,
    languages: tuple[str, ...],
    *,
    read: Callable[[Any], ScoredModel],
    batches_of: BatchesOf | None,
) -> Any:
    """Return the student with the projections that the run asks for.

    Args:
        model: A student: a transformers model or a PerLanguageModel.
        config: The run.
        languages: That the run trains on.
        read: Reads a model at the positions that the task scores.
        batches_of: To find the nearest language; None where the weights will be restored.

    Raises:
        ConfigError: The student has projections that the run does not ask for, or a language
            is named that has none.
    """
    section = config.student
    if section.projections == "shared":
        if not isinstance(model, PerLanguageModel):
            return model
        message = (
            f"student.pretrained: {section.pretrained} has a projection for each of "
            f"{list(model.languages)}; set student.projections=per_language"
        )
        raise ConfigError(message)
    if not isinstance(model, PerLanguageModel):
        return PerLanguageModel(model, languages)
    if unknown := sorted(set(section.projection_sources.values()) - set(model.languages)):
        message = (
            f"student.projection_sources names {unknown}, but {section.pretrained} has "
            f"projections for {list(model.languages)}"
        )
        raise ConfigError(message)
    sources = {}
    for language in sorted(set(languages) - set(model.languages)):
        source = section.projection_sources.get(language)
        if source is None and batches_of is not None:
            source = nearest_language(model, batches_of(language), language=language, read=read)
        sources[language] = source or model.languages[0]
        logger.info("the projection of %s starts from that of %s", language, sources[language])
    return with_languages(model, languages, sources=sources)


@torch.no_grad()
def nearest_language(
    model: PerLanguageModel,
    batches: Iterable[Batch],
    *,
    language: str,
    read: Callable[[Any], ScoredModel],
) -> str:
    """Return the language whose projection scores another language's rows with the least loss.

    The paper (AMTSS) does not say how near languages are found; this measure is ours.

    Args:
        model: Has projections for other languages.
        batches: Rows of the new language alone.
        language: The new language.
        read: Reads a model at the positions that the task scores.
    """
    some = list(itertools.islice(batches, _BATCHES_TO_COMPARE))
    losses = {}
    for known in model.languages:
        reader = read(with_languages(model, (language,), sources={language: known})).eval()
        values = [cross_entropy(reader(batch).logits_PK, batch.labels_P) for batch in some]
        losses[known] = float(torch.cat(values).mean())
    logger.info("cross entropy of %s by the projection of: %s", language, losses)
    return min(losses, key=lambda known: losses[known])
