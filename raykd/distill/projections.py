"""A student with a projection per language: which languages, and where a new one begins."""

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator

import torch
from torch.nn import functional as F
from transformers import PreTrainedConfig

from raykd.batch import Batch
from raykd.config.schema.model import StudentConfig
from raykd.distill.setup import RunSetup
from raykd.errors import ConfigError, ModelError
from raykd.losses.softened import widened
from raykd.models.files import languages_of
from raykd.models.labels import has_classes
from raykd.models.per_language import PerLanguageModel, TaskModel, with_languages
from raykd.models.scored import ScoredModel

_BATCHES_TO_COMPARE = 8
"""Micro-batches of a new language that the projections of the others are tried on."""

logger = logging.getLogger(__name__)

BatchesOf = Callable[[str], Iterator[Batch]]
"""From a language to micro-batches of its training rows, on the student's device."""


def with_projections(
    model: TaskModel,
    section: StudentConfig,
    languages: tuple[str, ...],
    *,
    read: Callable[[TaskModel], ScoredModel],
    batches_of: BatchesOf | None,
) -> TaskModel:
    """Return the student with the projections that the run asks for.

    Args:
        model: A student: a transformers model or a PerLanguageModel.
        section: Of the run.
        languages: That the run trains on.
        read: Reads a model at the positions that the task scores.
        batches_of: To find the nearest language; None where the weights will be restored.

    Raises:
        ConfigError: The student has projections that the run does not ask for, or a language
            is named that has none.
    """
    _check(section, model.languages if isinstance(model, PerLanguageModel) else ())
    if not isinstance(model, PerLanguageModel):
        is_shared = section.projections == "shared"
        return model if is_shared else PerLanguageModel(model, languages)
    sources = {}
    # Rows to compare are alike on all workers, so these choose alike.
    for language in sorted(set(languages) - set(model.languages)):
        source = section.projection_sources.get(language)
        if source is None and batches_of is not None:
            source = nearest_language(model, batches_of(language), language=language, read=read)
        sources[language] = source or model.languages[0]
        logger.info("the projection of %s starts from that of %s", language, sources[language])
    return with_languages(model, languages, sources=sources)


def check_projections(setup: RunSetup, *, student: PreTrainedConfig) -> None:
    """Refuse what ``with_projections`` would, and languages without one, before weights load.

    Which projection is the nearest to a language that is not trained on is not guessed: its
    labels must not be looked at, and a sure prediction may be a wrong one.

    Args:
        setup: The run and its data.
        student: The transformers configuration of the student.

    Raises:
        ConfigError: As ``with_projections``, or a language is evaluated that has no projection
            and names none, or names one that is not there or not needed.
    """
    config = setup.config
    known: tuple[str, ...] = ()
    if has_classes(student, config.task) and student.num_labels == setup.num_classes:
        known = languages_of(student) or ()
    _check(config.student, known)
    if config.student.projections == "shared":
        return
    served, named = {*known, *setup.trained_languages}, config.student.eval_projections
    has_projections = f"the student has projections for {sorted(served)}"
    if unknown := sorted(set(named.values()) - served):
        message = f"student.eval_projections names {unknown}, but {has_projections}"
        raise ConfigError(message)
    if needless := sorted(served & set(named)):
        message = f"student.eval_projections: {needless} have their own, as {has_projections}"
        raise ConfigError(message)
    for key, split in config.data.scored_splits.items():
        evaluated = {shard.language for shard in setup.evaluation_shards(split)}
        if missing := sorted(evaluated - served - set(named)):
            message = (
                f"data.{key}: has rows in {missing}, but {has_projections}; name the languages in "
                "data.languages, or in student.eval_projections the projections that score them"
            )
            raise ConfigError(message)


def check_teacher_projections(name: str, setup: RunSetup, *, teacher: PreTrainedConfig) -> None:
    """Refuse a teacher that is asked about languages it has no projection for.

    Args:
        name: Of the teacher in the run.
        setup: The run and its data.
        teacher: The transformers configuration of the teacher.

    Raises:
        ModelError: The message names the languages.
    """
    known = languages_of(teacher)
    if known is None:
        return
    data, served = setup.config.data, setup.config.teachers[name].languages
    asked = {*setup.trained_languages}
    for split in data.scored_splits.values():
        asked |= {shard.language for shard in setup.evaluation_shards(split)}
    if missing := sorted((asked if served is None else asked & set(served)) - set(known)):
        message = (
            f"teachers.{name}: has projections for {list(known)}, but is asked about {missing}; "
            f"name those that it serves in teachers.{name}.languages"
        )
        raise ModelError(message)


def _check(section: StudentConfig, known: tuple[str, ...]) -> None:
    """Compare a section with the languages that the loaded student has projections for."""
    if known and section.projections == "shared":
        message = (
            f"student.pretrained: {section.pretrained} has a projection for each of "
            f"{list(known)}; set student.projections=per_language"
        )
        raise ConfigError(message)
    if unknown := sorted(set(section.projection_sources.values()) - set(known)):
        message = (
            f"student.projection_sources names {unknown}, but {section.pretrained} has "
            f"projections for {list(known)}"
        )
        raise ConfigError(message)


@torch.no_grad()
def nearest_language(
    model: PerLanguageModel,
    batches: Iterable[Batch],
    *,
    language: str,
    read: Callable[[TaskModel], ScoredModel],
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
        logits_PK = torch.cat([reader(batch).logits_PK for batch in some])
        labels_P = torch.cat([batch.labels_P for batch in some])
        losses[known] = float(F.cross_entropy(widened(logits_PK), labels_P))
    logger.info("cross entropy of %s by the projection of: %s", language, losses)
    return min(losses, key=lambda known: losses[known])
