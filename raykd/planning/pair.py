"""Whether two models can be teacher and student: the plan of the run that they imply.

The run trains the student on what the teacher says, every other key at its default. Where no data
is named, rows are assumed of the teacher's tokenizer and classes, as long as both models read.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch

from raykd.config.schema.data import DataConfig
from raykd.config.schema.layer_losses import (
    AttentionRelationsConfig,
    AttentionScoresConfig,
    HiddenStatesConfig,
)
from raykd.config.schema.losses import ForwardKLConfig, LossesConfig
from raykd.config.schema.model import StudentConfig, TeacherConfig
from raykd.config.schema.run import RunConfig, TaskName
from raykd.config.schema.teachers import CacheConfig
from raykd.config.schema.train import TrainConfig
from raykd.data.manifest import Manifest, Shard, TokenizerInfo, read_manifest
from raykd.data.tokenizers import load_tokenizer, tokenizer_info
from raykd.distill.assemble import assemble
from raykd.distill.models import check_layer_terms
from raykd.distill.setup import RunSetup
from raykd.distill.world import World
from raykd.errors import DataError, MissingHeadError, ModelError, RaykdError
from raykd.models.families import family_of, num_positions
from raykd.models.files import languages_of
from raykd.models.labels import class_order, label_list, task_of_head
from raykd.models.load import load_config, resolve_model
from raykd.models.locations import is_location
from raykd.models.parts import num_layers
from raykd.models.stored import stored_tensors
from raykd.planning.memory import ModelPlan, memory_bytes
from raykd.planning.model_fit import check_same_tokenizer, remarks, tokenizer_beside
from raykd.planning.model_plans import plan_models
from raykd.planning.problems import Problems

_TEACHER = "teacher"
_ROLES = ("pad", "bos", "eos", "mask", "cls", "sep")
_PRECISIONS: tuple[Literal["float32", "bfloat16"], ...] = ("float32", "bfloat16")
_LAYER_LOSSES = (
    LossesConfig(hidden_states=HiddenStatesConfig()),
    LossesConfig(attention_scores=AttentionScoresConfig()),
    LossesConfig(attention_relations=AttentionRelationsConfig()),
)
_COMPARED = ("loss", "accuracy", "pearson")
"""Metrics; of each data has some."""

_SCORE_BYTES, _HIDDEN_BYTES = 4, 2
"""Bytes of a number in cached outputs: scores in float32, hidden states in 16 bits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """What there is to say about a teacher and a student."""

    teacher: dict[str, str]
    """What it has, by what the two are compared in."""

    student: dict[str, str]
    """What it has of the same."""

    lines: tuple[tuple[str, str], ...]
    """Possible losses, memory and caches: each a heading and a text."""

    warnings: tuple[str, ...]
    problems: tuple[str, ...]
    """Every reason that the run could not start."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Model:
    source: str
    config: Any
    """Its transformers configuration."""

    tokenizer: Any | None
    """The one that lies beside the model."""

    info: TokenizerInfo | None
    """About the tokenizer."""

    @property
    def context(self) -> int:
        """Tokens of the longest row that it was made for; rotary positions go on from there."""
        return num_positions(self.config) or int(self.config.max_position_embeddings)


_Models = tuple[_Model, _Model]
"""The teacher and the student."""


def examine_pair(
    teacher: str, student: str, *, task: TaskName | None, data_uri: str | None, split: str
) -> Pair:
    """Compare two models; load weights only to score them on data, and only if they fit it.

    Args:
        teacher: Hub name, local directory, or URI of a model, a run or a checkpoint.
        student: The same.
        task: None is the one that the teacher's head was made for.
        data_uri: Prepared data that both are scored on.
        split: Split of the data.

    Raises:
        ModelError: A model is not there, cannot be read, or is of an unknown family.
        DataError: The data or a tokenizer cannot be read.
    """
    models = _read(teacher), _read(student)
    task = task or _task_of(models[0])
    manifest = _assumed_data(models, split) if data_uri is None else read_manifest(data_uri)
    manifest.shards(split)
    setup = RunSetup(config=_implied_run(models, manifest, task, split), manifest=manifest)
    problems = Problems()
    for key, model in (("teachers.teacher.model", models[0]), ("student.pretrained", models[1])):
        if model.info is not None:  # here, too: the plan reads no tokenizers of the Hub
            check = partial(check_same_tokenizer, key, model.source, model.info, manifest)
            problems.collect(check)
    planned, teachers = plan_models(setup, problems)
    facts = _facts(models[0], teachers.get(_TEACHER), task), _facts(models[1], planned, task)
    lines = [("losses", _layer_losses(setup.config, models))]
    if planned is not None and teachers:
        lines += _sizes(setup, planned, teachers[_TEACHER])
    warnings = [*remarks(setup, teachers={_TEACHER: models[0].config}, start=None)]
    warnings += _warnings(models, manifest)
    has_head = _has_head(models[1], setup.labels, task)
    if not has_head:
        warnings.append(f"{student}: has no head for {task} and these classes: one starts anew")
    if data_uri is not None and not problems.found():
        # Weights are loaded last, and only where nothing cheaper stands against the pair.
        scores = problems.collect(partial(_scores, setup)) or {}
        for name, (theirs, mine) in scores.items():
            facts[0][f"{name}, {split}"] = f"{theirs:.4f}"
            facts[1][f"{name}, {split}"] = f"{mine:.4f}" if has_head else "no trained head"
        if has_head and (worse := _worse(scores)):
            warnings.append(f"the teacher is worse in {worse}: let the labels weigh more than it")
    return Pair(
        teacher=facts[0],
        student=facts[1],
        lines=tuple(lines),
        warnings=tuple(warnings),
        problems=problems.found(),
    )


def _read(source: str) -> _Model:
    config, where = load_config(source), resolve_model(source)
    try:
        tokenizer = tokenizer_beside(where) if is_location(where) else load_tokenizer(where)
    except DataError:
        if is_location(where):
            raise
        tokenizer = None  # the model itself is there: it has none that raykd can use
    info = None if tokenizer is None else tokenizer_info(tokenizer)
    return _Model(source=source, config=config, tokenizer=tokenizer, info=info)


def _task_of(model: _Model) -> TaskName:
    if (task := task_of_head(model.config)) is not None:
        return task
    return next(iter(family_of(model.config.model_type, where=model.source).heads))


def _assumed_data(models: _Models, split: str) -> Manifest:
    """Return data of a row in each language, of the tokenizer of the first model that has one."""
    prepared_for = next((model for model in models if model.info is not None), models[0])
    num_known = min(model.config.vocab_size for model in models)
    length = min(model.context for model in models)
    languages = tuple(sorted(languages_of(models[0].config) or ("any",)))
    # The student's order where it is one of the same classes: its head goes on in that alone.
    theirs, mine = (label_list(model.config) for model in models)
    labels = mine if _has_classes(models[0], mine) else theirs
    return Manifest(
        uri=prepared_for.source,
        fingerprint="",
        languages=languages,
        tokenizer=prepared_for.info
        or TokenizerInfo(
            fingerprint="", vocab_size=num_known, pad_id=0, mask_id=0, special_ids=()
        ),
        max_length=length,
        labels=labels,
        word_labels=labels,
        has_token_types=False,
        options={},
        splits={
            split: tuple(
                Shard(path="", language=language, batch_rows=(1,), tokens=length)
                for language in languages
            )
        },
    )


def _implied_run(models: _Models, manifest: Manifest, task: TaskName, split: str) -> RunConfig:
    teacher, student = models
    is_shared = languages_of(student.config) is None
    return RunConfig(
        name="pair",
        task=task,
        data=DataConfig(uri=manifest.uri, train_split=split, eval_split=split),
        student=StudentConfig(
            pretrained=student.source, projections="shared" if is_shared else "per_language"
        ),
        losses=LossesConfig(forward_kl=ForwardKLConfig()),
        train=TrainConfig(num_steps=1),
        teachers={_TEACHER: TeacherConfig(model=teacher.source)},
    )


def _has_head(student: _Model, labels: tuple[str, ...] | None, task: TaskName) -> bool:
    """Tell whether the student has been trained for the task and the classes."""
    is_for_task = task_of_head(student.config) == task
    return is_for_task and (labels is None or _has_classes(student, labels))


def _has_classes(model: _Model, labels: tuple[str, ...]) -> bool:
    try:
        class_order(model.config, labels, where=model.source)
    except MissingHeadError:
        return False
    return True


def _scores(setup: RunSetup) -> dict[str, tuple[float, float]]:
    """Return what teacher and student are compared in on data, by name.

    Raises:
        ModelError: One of them cannot be loaded, or has a loss that is no number.
        DataError: Nothing of the split is scored.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # As if restored: a pretrained student is loaded either way, and nothing is measured for it.
    run = assemble(setup, world=World(device=device), is_restored=True)
    metrics = run.evaluate().metrics()
    teachers, student = setup.config.teachers, setup.config.student
    sources = {"teacher/loss": teachers[_TEACHER].model, "loss": student.pretrained}
    for name, source in sources.items():
        if not math.isfinite(metrics[name]):
            message = f"{source}: says NaN or infinity about some rows; take another model"
            raise ModelError(message)
    names = [name for name in metrics if name.split("/")[0] in _COMPARED]
    return {name: (metrics[f"teacher/{name}"], metrics[name]) for name in names}


def _worse(scores: Mapping[str, tuple[float, float]]) -> str:
    """Return the metrics in which the teacher is behind the student."""
    return ", ".join(
        name
        for name, (theirs, mine) in scores.items()
        if (theirs > mine if name.startswith("loss") else theirs < mine)
    )


def _facts(model: _Model, plan: ModelPlan | None, task: TaskName) -> dict[str, str]:
    """Return what the two are compared in."""
    config, info = model.config, model.info
    facts = {
        "family": config.model_type,
        "layers": f"{num_layers(config)} of {config.hidden_size}, "
        f"{config.num_attention_heads} heads",
        "parameters": "unknown" if plan is None else f"{plan.parameters.total:,}",
        "of its layers": "unknown" if plan is None else f"{plan.parameters.layers:,}",
        "stored weights": ", ".join(_stored_dtypes(model)) or "unknown",
        "tokenizer": "none" if info is None else f"{info.fingerprint[:12]}, {info.vocab_size:,}",
        "vocabulary": f"{config.vocab_size:,}",
        "special ids": _listed(_special_ids(model.tokenizer)),
        "ids in config.json": _listed(_special_ids(config)),
        "context": f"{model.context:,} tokens",
    }
    if task.endswith("_lm"):
        return facts
    return facts | {"labels": ", ".join(label_list(config)) or "1 number"}


def _stored_dtypes(model: _Model) -> tuple[str, ...]:
    """Return the precisions of the weights, by their files where these are not on the Hub."""
    where = resolve_model(model.source)
    if is_location(where):
        return tuple(sorted({t.dtype for t in stored_tensors(where, model.source).values()}))
    return () if model.config.dtype is None else (str(model.config.dtype).split(".")[-1],)


def _special_ids(of: Any | None) -> dict[str, int]:
    """Return the special ids that a tokenizer or a configuration has, by role."""
    ids = {role: getattr(of, f"{role}_token_id", None) for role in _ROLES}
    return {role: index for role, index in ids.items() if isinstance(index, int)}


def _differing(mine: dict[str, int], theirs: dict[str, int]) -> str:
    return ", ".join(role for role, index in mine.items() if theirs.get(role, index) != index)


def _listed(ids: dict[str, int]) -> str:
    return ", ".join(f"{role} {index}" for role, index in ids.items()) or "-"


def _layer_losses(config: RunConfig, models: _Models) -> str:
    """Say which losses on layers the two shapes allow, and why the others are not possible."""
    teacher, student = models
    possible, impossible = ["all on logits"], []
    for losses in _LAYER_LOSSES:
        try:
            check_layer_terms(
                replace(config, losses=losses),
                student=student.config,
                teachers={_TEACHER: teacher.config},
            )
            possible += losses.layer_terms
        except RaykdError as error:
            impossible.append(str(error))
    return "; ".join([", ".join(possible), *impossible])


def _sizes(setup: RunSetup, student: ModelPlan, teacher: ModelPlan) -> Iterator[tuple[str, str]]:
    """Say what a worker needs with the teacher in it and with its outputs cached, and a cache."""
    for dtype in _PRECISIONS:
        live = TeacherConfig(model=_TEACHER, dtype=dtype)
        train = replace(setup.config.train, precision=dtype)
        sizes = [
            memory_bytes(
                replace(
                    setup, config=replace(setup.config, train=train, teachers={_TEACHER: section})
                ),
                student=student,
                teachers={_TEACHER: teacher},
            )
            for section in (live, replace(live, cache=CacheConfig()))
        ]
        yield (
            f"memory, {dtype}",
            f"about {sizes[0] / 1e9:.2f} GB a worker, {sizes[1] / 1e9:.2f} GB to write and read a "
            f"cache, at {train.micro_batch_size} x {setup.manifest.max_length} tokens",
        )
    scores, states = setup.num_classes * _SCORE_BYTES, teacher.config.hidden_size * _HIDDEN_BYTES
    yield (
        "cache",
        f"{scores / 1e3:,.2f} GB of scores or {states / 1e3:,.2f} GB of hidden states for a "
        "million scored positions",
    )


def _warnings(models: _Models, manifest: Manifest) -> Iterator[str]:
    special_ids = [_special_ids(model.tokenizer) for model in models]
    if roles := _differing(*special_ids):
        yield f"special ids differ ({roles}): rows end, or are padded, in two ways"
    for model, ids in zip(models, special_ids, strict=True):
        if model.tokenizer is None:
            yield f"{model.source}: no tokenizer beside it proves what its ids mean"
        if roles := _differing(ids, _special_ids(model.config)):
            yield (
                f"{model.source}: its config.json has other special ids ({roles}) than its "
                "tokenizer; mend config.json"
            )
        if model.context < manifest.max_length:
            yield (
                f"{model.source}: was made for {model.context:,} tokens, but rows of the data "
                f"have up to {manifest.max_length:,}"
            )
