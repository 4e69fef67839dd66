"""Models from and to storage: directories of transformers, in safetensors, never unpickled."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from huggingface_hub import hf_hub_download
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, GenerationConfig, PreTrainedConfig

from raykd.config.schema.run import TaskName
from raykd.errors import CheckpointError, ModelError, PublicationError
from raykd.models.build import AUTO_CLASSES, class_fields
from raykd.models.checks import (
    UNFIT,
    check_config,
    check_finite,
    check_fresh,
    fresh_tensors,
    require_file,
    unreadable,
)
from raykd.models.families import head_of
from raykd.models.files import (
    CONFIG_FILE,
    GENERATION_FILE,
    PROJECTIONS_FILE,
    config_with_languages,
    difference,
    languages_of,
    tensors_by_file,
    with_projections,
)
from raykd.models.locations import check_place, is_location
from raykd.models.per_language import PerLanguageModel, TaskModel
from raykd.models.quiet import quiet_transformers
from raykd.models.shards import distribute_like
from raykd.models.stored import stored_tensors
from raykd.storage import uris
from raykd.storage.published import layout
from raykd.storage.published.directory import is_committed, read_published

logger = logging.getLogger(__name__)


def resolve_model(source: str) -> str:
    """Return where the transformers directory of a source is.

    A run stands for its exported ``model``, or the newest checkpoint while it has none; what is
    torn is passed over with a warning. A checkpoint stands for its ``student``. Anything else is
    returned as it is.

    Raises:
        ModelError: The source is a run without any model yet, or a path to nothing.
    """
    check_place(source)
    if not is_location(source):
        return source
    if _has(source, CONFIG_FILE):
        return source
    if _has(source, layout.STATE):
        return uris.join(source, layout.STUDENT)
    if not _has(source, layout.RUN_CONFIG):
        return source
    model, checkpoints = (uris.join(source, name) for name in (layout.MODEL, layout.CHECKPOINTS))
    if _is_whole(model, kind=layout.MODEL_KIND):
        return model
    for name in reversed(uris.list_names(checkpoints)):
        checkpoint = uris.join(checkpoints, name)
        if _is_whole(checkpoint, kind=layout.CHECKPOINT_KIND):
            return uris.join(checkpoint, layout.STUDENT)
    message = f"{source}: the run has no model and no checkpoint that is whole; train it first"
    raise ModelError(message)


def load_config(source: str, *, revision: str | None = None) -> PreTrainedConfig:
    """Return the transformers configuration of a source, without its weights.

    Raises:
        ModelError: Nothing is there, or the family is unknown.
    """
    where = resolve_model(source)
    if is_location(where):
        require_file(where, source, CONFIG_FILE)
    try:
        if not is_location(where):
            config = AutoConfig.from_pretrained(where, revision=revision, trust_remote_code=False)
        else:
            with uris.local_copy(where) as path:
                config = AutoConfig.from_pretrained(
                    str(path), local_files_only=True, trust_remote_code=False
                )
    except UNFIT as error:
        raise unreadable(source, error, is_location=is_location(where)) from error
    check_config(config, source)
    return config


def load_generation_config(source: str, *, revision: str | None = None) -> GenerationConfig | None:
    """Return how the model of a source generates; None where its directory says nothing of it.

    Raises:
        ModelError: What it says cannot be read.
    """
    where = resolve_model(source)
    if not is_location(where):
        try:
            return GenerationConfig.from_pretrained(where, revision=revision)
        except OSError:
            return None
    if not _has(where, GENERATION_FILE):
        return None
    try:
        written = json.loads(uris.read_bytes(uris.join(where, GENERATION_FILE)))
        return GenerationConfig.from_dict(written)
    except UNFIT as error:
        raise unreadable(source, error, is_location=True) from error


def load_model(
    source: str,
    task: TaskName,
    *,
    labels: tuple[str, ...] | None,
    revision: str | None = None,
    dtype: str = "float32",
    new_head: Literal["allowed", "refused"] = "allowed",
) -> TaskModel:
    """Return a transformers model for a task with the weights of a source.

    Of a model with a head per language it is a PerLanguageModel, as long as the heads fit the
    task and the classes; else only its encoder is taken and a plain model returned.

    Args:
        source: Local directory, Hub name, or URI of a model, a run or a checkpoint.
        task: Decides the head.
        labels: Names of the classes of the data; None for language modelling.
        revision: Branch, tag or commit of a Hub model.
        dtype: Precision of the weights.
        new_head: Whether a head that the source lacks, or has for other classes, may start at
            random, which is logged. A teacher's may not: it would teach noise.

    Raises:
        ModelError: Nothing is there, the weights are pickled, tensors of the embeddings or the
            encoder are missing, or the family does not serve the task.
    """
    config = load_config(source, revision=revision)
    head_of(config.model_type, task, where=source)
    if labels is not None:
        # Before the weights are loaded: a head for other classes then shows by its size.
        config.update(class_fields(labels))
    where = resolve_model(source)
    try:
        if not is_location(where):
            model, fresh = _from_pretrained(where, task, config, revision=revision, dtype=dtype)
        else:
            with uris.local_copy(where) as path:
                stored_tensors(str(path), source)
                model, fresh = _from_pretrained(
                    str(path), task, config, revision=None, dtype=dtype
                )
    except (*UNFIT, RuntimeError, SafetensorError) as error:
        raise unreadable(source, error, is_location=is_location(where)) from error
    check_fresh(model, fresh, source=source, task=task, new_head=new_head)
    if fresh:
        logger.warning("%s: these tensors start at random: %s", source, ", ".join(fresh))
    check_finite(model, source)
    return model


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFiles:
    """What a model's directory is going to hold."""

    config: PreTrainedConfig
    tensors: dict[str, dict[str, torch.Tensor]]
    """By file and name."""


def model_files(model: TaskModel) -> ModelFiles:
    """Return what to write of a model; the tensors share their memory with it."""
    is_shared = isinstance(model, PerLanguageModel)
    config = config_with_languages(model.config, model.languages if is_shared else None)
    plain = model.model if is_shared else model
    config.architectures = [type(plain).__name__]
    # The precision that transformers loads the weights in, whatever that of the start was.
    config.dtype = plain.dtype
    return ModelFiles(config=config, tensors=tensors_by_file(model))


def save_files(files: ModelFiles, path: Path) -> None:
    """Write configuration and weights into a directory that ``from_pretrained`` reads.

    Of a PerLanguageModel it reads the model of the first language.
    """
    path.mkdir(parents=True, exist_ok=True)
    files.config.save_pretrained(path)
    for file, tensors in files.tensors.items():
        # safetensors refuses views, such as transposed weights.
        contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
        save_file(contiguous, path / file, metadata={"format": "pt"})


def save_model(model: TaskModel, path: Path) -> None:
    """Write a model into a directory that ``from_pretrained`` reads."""
    save_files(model_files(model), path)


def load_weights(model: TaskModel, path: Path) -> None:
    """Put weights that ``save_model`` wrote into a model, bit by bit.

    Raises:
        CheckpointError: A file is missing or torn, or the weights are of another model; the
            message names a tensor.
    """
    for file, mine in tensors_by_file(model).items():
        try:
            saved = load_file(path / file)
        except (OSError, SafetensorError) as error:
            message = f"{path / file}: cannot be read: {error}"
            raise CheckpointError(message) from error
        if unlike := difference(saved, mine):
            message = f"{path / file}: is of another model: {unlike}"
            raise CheckpointError(message)
        for name, tensor in mine.items():
            tensor.copy_(distribute_like(saved[name], like=tensor))


def _from_pretrained(
    where: str, task: TaskName, config: PreTrainedConfig, *, revision: str | None, dtype: str
) -> tuple[TaskModel, list[str]]:
    """Return a model and the names of its tensors that the source does not have.

    Raises:
        ValueError: Its file of projections is of another model.
    """
    with quiet_transformers():
        model, info = AUTO_CLASSES[task].from_pretrained(
            where,
            config=config_with_languages(config, None),
            revision=revision,
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            trust_remote_code=False,
            # A head for other classes is no error yet: check_fresh decides.
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    fresh = fresh_tensors(info)
    languages = languages_of(config)
    if languages is None or fresh:
        return model, fresh
    file = f"{where}/{PROJECTIONS_FILE}"
    if not Path(where).is_dir():
        file = hf_hub_download(where, PROJECTIONS_FILE, revision=revision)
    return with_projections(model, languages, load_file(file)), fresh


def _has(uri: str, name: str) -> bool:
    return uris.exists(uris.join(uri, name))


def _is_whole(uri: str, *, kind: str) -> bool:
    """Tell whether a directory was published, and its manifest is what was committed."""
    if not is_committed(uri):
        return False
    try:
        read_published(uri, kind=kind)
    except PublicationError as error:
        logger.warning("passing over a torn %s: %s", kind, error)
        return False
    return True
