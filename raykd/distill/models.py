"""The models of a run: from the sections teachers and student to modules."""

import logging
from dataclasses import dataclass
from typing import Any

import torch

from raykd.config.schema.model import CopyLayersConfig
from raykd.config.schema.run import RunConfig
from raykd.data.manifest import Manifest
from raykd.errors import ConfigError, ModelError
from raykd.init.copy_layers import copy_layers
from raykd.layer_map import layer_map, validate
from raykd.models.build import Vocabulary, build_config, build_model
from raykd.models.load import load_config, load_model
from raykd.models.parts import distinct_tensors, num_layers, places_of, set_tensors
from raykd.models.scored import ScoredModel

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunModels:
    """What is trained and what is imitated."""

    student: ScoredModel
    teacher: ScoredModel | None


def build_models(config: RunConfig, manifest: Manifest) -> RunModels:
    """Load and build the models of a run; random weights depend on ``train.seed`` alone.

    Raises:
        ModelError: A model is missing or does not fit the task or the data.
        ConfigError: The student's architecture or init contradicts itself or the source.
    """
    teacher = None
    for name, section in config.teachers.items():
        check_labels(
            f"teachers.{name}",
            load_config(section.model, revision=section.revision),
            config,
            manifest,
        )
        model = load_model(
            section.model,
            config.task,
            labels=manifest.labels_of(config.task),
            revision=section.revision,
            dtype=section.dtype,
            new_head="refused",
        )
        teacher = _scored(model, config, manifest)
    torch.manual_seed(config.train.seed)
    student = _student(config, manifest, teacher=None if teacher is None else teacher.model)
    return RunModels(student=_scored(student, config, manifest), teacher=teacher)


def student_config(config: RunConfig, manifest: Manifest) -> Any:
    """Return the transformers configuration of the student, without building it."""
    section = config.student
    if section.pretrained is not None:
        return load_config(section.pretrained, revision=section.revision)
    assert section.architecture is not None  # noqa: S101  one of the two, checked on loading
    like = None
    if section.architecture.model_type is None:
        for teacher in config.teachers.values():
            like = load_config(teacher.model, revision=teacher.revision)
    return build_config(
        section.architecture, like=like, vocabulary=vocabulary_of(config, manifest)
    )


def copied_layers(copied: CopyLayersConfig, *, student: Any, source: Any) -> tuple[int, ...]:
    """Return the source layer of each student layer, from their transformers configurations.

    Raises:
        ConfigError: The layers asked for are not there, or the student is the deeper one.
    """
    student_layers, source_layers = num_layers(student), num_layers(source)
    try:
        if copied.layers is None:
            return layer_map(
                copied.pattern, num_student_layers=student_layers, num_source_layers=source_layers
            )
        validate(copied.layers, num_student_layers=student_layers, num_source_layers=source_layers)
    except ValueError as error:
        message = f"student.init.copy_layers: {error}"
        raise ConfigError(message) from error
    return copied.layers


def vocabulary_of(config: RunConfig, manifest: Manifest) -> Vocabulary:
    """Return what the data decides about a model."""
    return Vocabulary(
        size=manifest.tokenizer.vocab_size,
        pad_id=manifest.tokenizer.pad_id,
        max_length=manifest.max_length,
        labels=manifest.labels_of(config.task),
    )


def check_labels(key: str, model_config: Any, config: RunConfig, manifest: Manifest) -> None:
    """Check that a teacher scores the data's classes, in the data's order.

    Raises:
        ModelError: It does not; the message shows both lists.
    """
    labels = manifest.labels_of(config.task)
    if labels is None:
        return
    names = tuple(model_config.id2label[index] for index in range(model_config.num_labels))
    are_named = names != tuple(f"LABEL_{index}" for index in range(len(names)))
    if len(names) != len(labels) or (are_named and names != labels):
        message = (
            f"{key}: scores the classes {list(names)}, but the data has {list(labels)}; "
            "use a teacher trained on these labels in this order"
        )
        raise ModelError(message)


def _scored(model: Any, config: RunConfig, manifest: Manifest) -> ScoredModel:
    labels = manifest.labels_of(config.task)
    num_classes = manifest.tokenizer.vocab_size if labels is None else len(labels)
    return ScoredModel(model, task=config.task, num_classes=num_classes)


def _student(config: RunConfig, manifest: Manifest, *, teacher: Any | None) -> Any:
    section, labels = config.student, manifest.labels_of(config.task)
    if section.pretrained is not None:
        return load_model(
            section.pretrained, config.task, labels=labels, revision=section.revision
        )
    student = build_model(student_config(config, manifest), config.task)
    if section.init is not None and (copied := section.init.copy_layers) is not None:
        if copied.source is not None:
            teacher = load_model(
                copied.source,
                config.task,
                labels=labels,
                new_head="refused" if "head" in copied.parts else "allowed",
            )
        _copy(copied, student=student, source=teacher)
    return student


def _copy(copied: CopyLayersConfig, *, student: Any, source: Any) -> None:
    layers = copied_layers(copied, student=student.config, source=source.config)
    result = copy_layers(
        distinct_tensors(source),
        distinct_tensors(student),
        source_places=places_of(source),
        target_places=places_of(student),
        layers=layers,
        parts=copied.parts,
    )
    set_tensors(student, result.state)
    logger.info("student layers <- source layers: %s", list(layers))
