"""The models of a run: from the sections teachers and student to modules."""

import logging
from collections.abc import Collection, Mapping
from types import MappingProxyType

import torch
from transformers import PreTrainedConfig

from raykd.config.inputs import Named, models_by_teacher
from raykd.config.schema.run import RunConfig
from raykd.distill.methods import source_layers
from raykd.distill.setup import RunSetup
from raykd.distill.start import source_of
from raykd.errors import ConfigError, ModelError
from raykd.losses.comparisons import ModelShape
from raykd.losses.layer_terms import LayerTerm, build_layer_terms
from raykd.models.build import Vocabulary, build_config, build_model, class_fields
from raykd.models.families import family_of
from raykd.models.internals import require_product_scores
from raykd.models.labels import class_order, has_classes, label_list
from raykd.models.load import load_config, load_generation_config, load_model
from raykd.models.parts import num_layers
from raykd.models.per_language import PerLanguageModel, TaskModel
from raykd.models.scored import ScoredModel
from raykd.teachers.live import LiveTeacher

logger = logging.getLogger(__name__)

_OWN_PROJECTIONS: Mapping[str, str] = MappingProxyType({})


def load_teachers(
    setup: RunSetup, *, names: Collection[str] | None = None
) -> dict[str, ScoredModel]:
    """Load teachers of a run; they score the data's classes in the data's order.

    Args:
        setup: The run and its data.
        names: Those to load; None is all that are models.

    Raises:
        ModelError: One is missing, or does not fit the task, the classes or the data.
    """
    return {
        name: _load_teacher(name, setup)
        for name in models_by_teacher(setup.config)
        if names is None or name in names
    }


def live_teachers(
    setup: RunSetup, names: Collection[str], device: torch.device
) -> dict[str, LiveTeacher]:
    """Load teachers of a run onto a device, to be asked there."""
    loaded = load_teachers(setup, names=names)
    return {name: LiveTeacher(model.to(device)) for name, model in loaded.items()}


def build_student(setup: RunSetup) -> TaskModel:
    """Return the student of a run: pretrained, or with random weights of ``train.seed`` alone.

    Raises:
        ModelError: The pretrained model is missing, does not fit the task, or scores the data's
            classes in another order.
        ConfigError: The architecture contradicts itself.
    """
    config, section = setup.config, setup.config.student
    # Before anything is drawn, a new head on pretrained weights too.
    torch.manual_seed(config.train.seed)
    if section.pretrained is not None:
        check_pretrained(setup, student_config(setup))
        model = load_model(
            section.pretrained, config.task, labels=setup.labels, revision=section.revision
        )
        if family_of(model.config.model_type, where=section.pretrained).summary == "last":
            # transformers looks for the last token before the padding: by this id, here and in the
            # exported model.
            model.config.pad_token_id = setup.manifest.tokenizer.pad_id
        return model
    model = build_model(student_config(setup), config.task)
    if (like := _model_like(config)) is not None and model.can_generate():
        generation = load_generation_config(like.source, revision=like.revision)
        model.generation_config = generation or model.generation_config
    return model


def random_student(setup: RunSetup) -> ScoredModel:
    """Return the student with random weights in float32, one that is pretrained too."""
    config, described = setup.config, student_config(setup)
    if setup.labels is not None:
        described.update(class_fields(setup.labels))
    torch.manual_seed(config.train.seed)
    model: TaskModel = build_model(described, config.task).float()
    if config.student.projections == "per_language":
        model = PerLanguageModel(model, setup.trained_languages)
    return scored(model, setup)


def student_config(setup: RunSetup) -> PreTrainedConfig:
    """Return the transformers configuration of the student, without building it."""
    section = setup.config.student
    if section.pretrained is not None:
        return load_config(section.pretrained, revision=section.revision)
    assert section.architecture is not None  # noqa: S101  one of the two, checked on loading
    like = _model_like(setup.config)
    return build_config(
        section.architecture,
        like=None if like is None else load_config(like.source, revision=like.revision),
        vocabulary=_vocabulary(setup),
    )


def _model_like(config: RunConfig) -> Named | None:
    """Return the teacher whose architecture the student's differs from; None where none is."""
    architecture = config.student.architecture
    if architecture is None or architecture.model_type is not None:
        return None
    return next(iter(models_by_teacher(config).values()))


def check_pretrained(setup: RunSetup, model_config: PreTrainedConfig) -> None:
    """Refuse a pretrained student with the data's classes in another order.

    Its head would begin with every class mistaken for another; a teacher's scores are brought to
    the data's order, but a trained student is saved with the classes as its head has them. As
    many other classes are let be, for a head that starts from another's, and said in the log.

    Raises:
        ModelError: The message says how to prepare the data.
    """
    labels, section = setup.labels, setup.config.student
    if labels is None or not has_classes(model_config, setup.config.task):
        return
    names = label_list(model_config)
    if sorted(names) == sorted(labels) and names != labels:
        message = (
            f"student.pretrained: {section.pretrained} scores the classes {list(names)}, "
            f"but the data has {list(labels)}; prepare the data with raykd prepare --labels "
            f"{','.join(names)}"
        )
        raise ModelError(message)
    if len(names) == len(labels) and names != labels:
        logger.warning(
            "student.pretrained: the head for %s starts as that for %s, in this order",
            list(labels),
            list(names),
        )


def scored(
    model: TaskModel,
    setup: RunSetup,
    *,
    class_order: tuple[int, ...] | None = None,
    projections: Mapping[str, str] = _OWN_PROJECTIONS,
) -> ScoredModel:
    """Return a model read at the positions that the task scores.

    Args:
        model: Of transformers, or a PerLanguageModel.
        setup: The run and its data.
        class_order: The model's class of each class of the data; None where they are the same.
        projections: Of a PerLanguageModel: language to the one whose projection scores it; those
            that are not named have their own.
    """
    names = tuple(projections.get(name, name) for name in setup.manifest.languages)
    return ScoredModel(
        model,
        task=setup.config.task,
        num_classes=setup.num_classes,
        class_order=class_order,
        languages=names if isinstance(model, PerLanguageModel) else None,
    )


def _vocabulary(setup: RunSetup) -> Vocabulary:
    """Return what the data decides about a model."""
    manifest = setup.manifest
    return Vocabulary(
        size=manifest.tokenizer.vocab_size,
        pad_id=manifest.tokenizer.pad_id,
        max_length=manifest.max_length,
        labels=setup.labels,
    )


def teacher_class_order(
    name: str, model_config: PreTrainedConfig, setup: RunSetup
) -> tuple[int, ...] | None:
    """Return the teacher's class of each class of the data; None where they are the same.

    Raises:
        ModelError: The teacher has other classes; the message shows both lists.
    """
    if setup.labels is None:
        return None
    return class_order(model_config, setup.labels, where=f"teachers.{name}")


def layer_terms(
    config: RunConfig,
    *,
    student: ScoredModel,
    teachers: Mapping[str, ScoredModel],
) -> tuple[LayerTerm, ...]:
    """Return the terms on layers, whose maps begin as ``train.seed`` alone says.

    Raises:
        ConfigError: Layers, heads or widths of two models do not allow a comparison.
    """
    # Anew: what student.init has drawn before does not count.
    torch.manual_seed(config.train.seed)
    return check_layer_terms(
        config,
        student=student.model.config,
        teachers={name: teacher.model.config for name, teacher in teachers.items()},
    )


def check_layer_terms(
    config: RunConfig, *, student: PreTrainedConfig, teachers: Mapping[str, PreTrainedConfig]
) -> tuple[LayerTerm, ...]:
    """Return the terms on layers, from the transformers configurations of the models.

    Raises:
        ConfigError: Layers, heads or widths of two models do not allow a comparison.
        ModelError: Scores are compared of a model whose attention is more than products.
    """
    if config.losses.attention_scores is not None:
        name = config.losses.attention_scores.teacher or next(iter(teachers))
        require_product_scores(student, where="student")
        require_product_scores(teachers[name], where=f"teachers.{name}")
    followed = {}
    if (init := config.student.init) is not None and source_of(config) in teachers:
        name = source_of(config)
        followed = {name: source_layers(init, student=student, source=teachers[name])}
    try:
        return build_layer_terms(
            config.losses,
            student=shape_of(student),
            teachers={name: shape_of(teacher) for name, teacher in teachers.items()},
            followed=followed,
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error


def shape_of(model_config: PreTrainedConfig) -> ModelShape:
    """Return what losses on layers have to know of a model, from its configuration."""
    return ModelShape(
        num_layers=num_layers(model_config),
        hidden_size=int(model_config.hidden_size),
        num_heads=int(model_config.num_attention_heads),
    )


def served_languages(config: RunConfig) -> Mapping[str, tuple[str, ...] | None]:
    """Return the languages that each teacher serves, None for all."""
    return {name: section.languages for name, section in config.teachers.items()}


def _load_teacher(name: str, setup: RunSetup) -> ScoredModel:
    named = models_by_teacher(setup.config)[name]
    model_config = load_config(named.source, revision=named.revision)
    order = teacher_class_order(name, model_config, setup)
    model = load_model(
        named.source,
        setup.config.task,
        labels=None if setup.labels is None else label_list(model_config),
        revision=named.revision,
        dtype=setup.config.teachers[name].dtype,
        # A random head would teach noise.
        new_head="refused",
    )
    return scored(model, setup, class_order=order)
