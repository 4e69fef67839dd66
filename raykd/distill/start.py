"""How a student's weights start: from the section student.init to tensors, and what came of it."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from raykd.batch import Batch
from raykd.config.inputs import Named, models_by_teacher
from raykd.config.schema.init import ExpandConfig, InitConfig, LigoConfig, SubcloneConfig
from raykd.config.schema.run import RunConfig, TaskName
from raykd.distill.growth import learn_growth
from raykd.distill.methods import InitPair, applied, growth_operator, source_layers
from raykd.distill.setup import RunSetup
from raykd.errors import ModelError
from raykd.init.provenance import InitResult, Origin
from raykd.models.activations import activation_scores
from raykd.models.build import build_model
from raykd.models.labels import class_order, has_classes
from raykd.models.load import load_config, load_model
from raykd.models.parts import set_tensors
from raykd.models.per_language import PerLanguageModel, TaskModel
from raykd.models.scored import ScoredModel

Batches = Callable[[], Iterator[Batch]]
"""Micro-batches of the training data from its first row on, on the student's device."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StudentStart:
    """Where the weights of a built student came from."""

    method: str
    source: str
    """Name of a teacher, or what student.init names."""

    layers: tuple[int, ...]
    """Source layer of each layer of the student, counted from 0."""

    provenance: Mapping[str, Origin]
    """For every tensor of the student."""

    logit_difference: float | None = None
    """Largest difference of a logit of the student to the source's on one batch; None for
    methods that do not keep the function, where the head is random, and before it is measured."""


def source_of(config: RunConfig) -> str:
    """Return what the student starts from: the name of a teacher or of a model."""
    return _init_of(config).method.source or next(iter(config.teachers))


def plan_start(setup: RunSetup, *, student: PreTrainedConfig) -> StudentStart:
    """Say where every tensor of a student would come from, without loading any weights.

    Args:
        setup: Of a run with a section student.init.
        student: The transformers configuration of the student.

    Raises:
        ConfigError: The layers asked for are not there.
        ModelError: The source does not fit the student.
    """
    config = setup.config
    # Shapes without memory: enough for a method that neither measures nor learns.
    with torch.device("meta"):
        source = build_model(_source_config(config), config.task)
        pair = _pair(setup, source=source, student=build_model(student, config.task))
    return _start(config, pair, applied(_init_of(config), pair, scores=None))


def start_student(
    student: PreTrainedModel,
    setup: RunSetup,
    *,
    teachers: Mapping[str, ScoredModel],
    batches: Batches,
    read: Callable[[TaskModel], ScoredModel],
) -> StudentStart:
    """Give a built student the weights that student.init describes, in place.

    Args:
        student: A transformers model with random weights, on its device.
        setup: Of a run with a section student.init.
        teachers: Of the run, one of which may be the source.
        batches: For methods that look at data.
        read: Reads a model at the positions that the task scores.

    Raises:
        ConfigError: The layers asked for are not there.
        ModelError: The source is missing or does not fit the student.
    """
    config = setup.config
    init, name = _init_of(config), source_of(config)
    model = (
        teachers[name].model if name in teachers else load_model(name, config.task, labels=None)
    )
    source = model.model if isinstance(model, PerLanguageModel) else model
    pair = _pair(setup, source=source.to(student.device), student=student)
    is_classifier = setup.labels is not None
    reader = _classifier(pair, config.task) if is_classifier else read(source)
    result = _result(init, pair, reader=reader, batches=batches, read=read)
    set_tensors(student, result.state)
    difference = None
    # Expansion alone promises the source's function, and of a random head there is none to keep.
    is_head_random = is_classifier and pair.class_order is None
    if isinstance(init.method, ExpandConfig) and not is_head_random:
        difference = _logit_difference(reader, read(student), next(batches()))
    return _start(config, pair, result, logit_difference=difference)


def _classifier(pair: InitPair, task: TaskName) -> ScoredModel:
    """Return the source read as a classifier, of the data's classes where it has those."""
    return ScoredModel(
        pair.source,
        task=task,
        num_classes=pair.source.config.num_labels,
        class_order=pair.class_order,
    )


def _result(
    init: InitConfig,
    pair: InitPair,
    *,
    reader: ScoredModel,
    batches: Batches,
    read: Callable[[TaskModel], ScoredModel],
) -> InitResult:
    """Apply the method, measuring the source or learning on data first where it does."""
    if isinstance(init.method, LigoConfig):
        operator = growth_operator(pair)
        learn_growth(
            operator,
            read(pair.student),
            batches(),
            num_steps=init.method.num_steps,
            learning_rate=init.method.learning_rate,
        )
        return operator.result()
    scores = None
    if isinstance(init.method, SubcloneConfig):
        some = itertools.islice(batches(), init.method.num_batches)
        scores = activation_scores(reader, some)
    return applied(init, pair, scores=scores)


def _init_of(config: RunConfig) -> InitConfig:
    assert config.student.init is not None  # noqa: S101  asked only where there is one
    return config.student.init


def _pair(setup: RunSetup, *, source: PreTrainedModel, student: PreTrainedModel) -> InitPair:
    config = setup.config
    return InitPair(
        source=source,
        student=student,
        layers=source_layers(_init_of(config), student=student.config, source=source.config),
        class_order=_class_order(_source_config(config), setup.labels, config.task),
        seed=config.train.seed,
    )


def _start(
    config: RunConfig, pair: InitPair, result: InitResult, *, logit_difference: float | None = None
) -> StudentStart:
    return StudentStart(
        method=_init_of(config).name,
        source=source_of(config),
        layers=pair.layers,
        provenance=result.provenance,
        logit_difference=logit_difference,
    )


def _source_config(config: RunConfig) -> PreTrainedConfig:
    name = source_of(config)
    named = models_by_teacher(config).get(name, Named(source=name))
    return load_config(named.source, revision=named.revision)


def _class_order(
    source: PreTrainedConfig, labels: tuple[str, ...] | None, task: TaskName
) -> tuple[int, ...] | None:
    """Return the source's class of each class of the data, None where its head is of others."""
    if labels is None or not has_classes(source, task):
        return None
    try:
        order = class_order(source, labels, where="student.init")
    except ModelError:
        return None
    return tuple(range(source.num_labels)) if order is None else order


@torch.no_grad()
def _logit_difference(source: ScoredModel, student: ScoredModel, batch: Batch) -> float:
    """Return the largest difference of a logit between two models, dropout off."""
    source_logits_PK = source.eval()(batch).logits_PK
    return float((source_logits_PK - student.eval()(batch).logits_PK).abs().max())
