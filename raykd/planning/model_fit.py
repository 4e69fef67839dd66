"""Whether a model that is loaded fits the prepared data, and what of it is taken for granted."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from typing import Literal

from transformers import PreTrainedConfig, PreTrainedTokenizerFast

from raykd.config.frozen import parse_frozen
from raykd.config.schema.init import CopyLayersConfig
from raykd.data.manifest import Manifest, TokenizerInfo
from raykd.data.tokenizers import load_tokenizer, tokenizer_info
from raykd.distill.setup import RunSetup
from raykd.distill.start import StudentStart, source_of
from raykd.errors import ConfigError, ModelError
from raykd.models.build import count_parameters
from raykd.models.families import num_positions
from raykd.models.labels import assumed_order, has_classes
from raykd.models.load import load_config, resolve_model
from raykd.models.loadable import check_loadable
from raykd.models.parts import num_layers
from raykd.planning.memory import ModelPlan
from raykd.storage import uris
from raykd.tasks.entities import why_no_entities

_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "tokenizer_config.json")
"""Of a tokenizer: either of the first two, and what it is set to."""


def planned_model(
    setup: RunSetup,
    *,
    key: str,
    source: str,
    revision: str | None = None,
    new_head: Literal["allowed", "refused"],
) -> ModelPlan:
    """Describe a model that is loaded, once it is known to read the data and to have its weights.

    Args:
        setup: The run and its data.
        key: That names the model.
        source: What it names.
        revision: Of a model on the Hub.
        new_head: Whether the head for the task may start at random.

    Raises:
        ModelError: The model is not there, not whole or of another task, or reads less than the
            data has.
        DataError: The tokenizer beside the model cannot be read.
    """
    loaded, task = load_config(source, revision=revision), setup.config.task
    _check_length(key, source, loaded, setup.manifest)
    # On the Hub there is none to look at yet: then only the number of embeddings is compared.
    if (tokenizer := _tokenizer_info_beside(resolve_model(source))) is not None:
        check_same_tokenizer(key, source, tokenizer, setup.manifest)
    _check_vocabulary(key, source, loaded, setup.manifest)
    check_loadable(source, loaded, task, new_head=new_head)
    return ModelPlan(config=loaded, parameters=count_parameters(loaded, task))


def with_frozen(student: ModelPlan, setup: RunSetup) -> ModelPlan:
    """Return the plan of a student that knows which of its parts are not trained.

    Raises:
        ConfigError: The student lacks a part that student.freeze names, or has nothing else that
            the losses could train.
    """
    config, names = setup.config, setup.config.student.freeze
    if not names:
        return student
    count = partial(count_parameters, student.config, config.task)
    layers = num_layers(student.config)
    for name in names:
        frozen = parse_frozen([name])
        if frozen.num_layers > layers or count(without=frozen) == student.parameters:
            message = (
                f"student.freeze: {name!r} is no part of the student for {config.task}; it has "
                f"embeddings, encoder, layers below 1 to {layers}, and a head unless that is the "
                "embeddings again"
            )
            raise ConfigError(message)
    frozen = parse_frozen(names)
    trained = count(without=frozen)
    if not trained.total:
        message = f"student.freeze: {list(names)} is all of the student: nothing would be trained"
        raise ConfigError(message)
    if config.losses.layer_terms and trained.total == trained.head:
        message = (
            f"losses.{next(iter(config.losses.layer_terms))} compares layers that "
            f"student.freeze={list(names)} keeps as they are: it would train nothing; leave one "
            "of the two out"
        )
        raise ConfigError(message)
    num_frozen = student.parameters.total - trained.total
    return replace(student, frozen=frozen, num_frozen=num_frozen)


def check_source(setup: RunSetup) -> None:
    """Check the model that the student starts from, where it is no teacher, as any that is loaded.

    Raises:
        RaykdError: As ``planned_model``.
    """
    config, init = setup.config, setup.config.student.init
    if init is None or (source := source_of(config)) in config.teachers:
        return
    if isinstance(init.method, CopyLayersConfig) and "embeddings" not in init.method.parts:
        # Nothing of it depends on which token has which id.
        check_loadable(source, load_config(source), config.task, new_head="allowed")
        return
    key = f"student.init.{init.name}.source"
    planned_model(setup, key=key, source=source, new_head="allowed")


def _check_length(key: str, source: str, loaded: PreTrainedConfig, manifest: Manifest) -> None:
    """Check that a model reads rows as long as the data's.

    Raises:
        ModelError: It does not; the message names the key.
    """
    longest = num_positions(loaded)
    if longest is not None and longest < manifest.max_length:
        message = (
            f"{key}: {source} reads at most {longest} tokens, but rows of {manifest.uri} have up "
            f"to {manifest.max_length}; prepare the data with --max-length {longest}"
        )
        raise ModelError(message)


def _check_vocabulary(key: str, source: str, loaded: PreTrainedConfig, manifest: Manifest) -> None:
    """Check that a model has an embedding for every id of the data's tokenizer.

    Raises:
        ModelError: It does not; the message names the key.
    """
    needed = manifest.tokenizer.vocab_size
    # More are fine: embeddings are often padded to a multiple that suits the hardware.
    if loaded.vocab_size < needed:
        message = (
            f"{key}: {source} has {loaded.vocab_size:,} embeddings, fewer than the {needed:,} "
            f"entries of the tokenizer of {manifest.uri}; take a model of that tokenizer, or "
            "prepare the data with the model's"
        )
        raise ModelError(message)


def _tokenizer_info_beside(where: str) -> TokenizerInfo | None:
    files = [uris.join(where, name) for name in _TOKENIZER_FILES]
    contents = [uris.read_bytes(file) for file in files if uris.exists(file)]
    digest = hashlib.sha256(b"\0".join(contents)).hexdigest()
    return _described(where, digest) if contents else None


@lru_cache(maxsize=8)
def _described(where: str, digest: str) -> TokenizerInfo | None:  # noqa: ARG001  part of the key
    """Describe the tokenizer beside a model, once for a study: 100,000 words take seconds."""
    tokenizer = tokenizer_beside(where)
    return None if tokenizer is None else tokenizer_info(tokenizer)


def tokenizer_beside(where: str) -> PreTrainedTokenizerFast | None:
    """Return the tokenizer in the directory of a model; None where none is.

    Raises:
        DataError: It cannot be read.
    """
    is_there = any(uris.exists(uris.join(where, name)) for name in _TOKENIZER_FILES[:2])
    return load_tokenizer(where) if is_there else None


def check_same_tokenizer(
    key: str, source: str, tokenizer: TokenizerInfo, manifest: Manifest
) -> None:
    """Check that a model's tokenizer is the data's.

    Raises:
        ModelError: They are not interchangeable; the message names the key.
    """
    fingerprint = tokenizer.fingerprint
    if fingerprint != manifest.tokenizer.fingerprint:
        message = (
            f"{key}: the tokenizer of {source} (fingerprint {fingerprint[:12]}) is not that of "
            f"{manifest.uri} ({manifest.tokenizer.fingerprint[:12]}); prepare the data with "
            f"--tokenizer {source}"
        )
        raise ModelError(message)


def remarks(
    setup: RunSetup,
    *,
    teachers: Mapping[str, PreTrainedConfig],
    start: StudentStart | None,
) -> Iterator[str]:
    """Say what is taken for granted of the classes, and what evaluations will lack.

    Args:
        setup: The run and its data.
        teachers: Their configurations, by name.
        start: Of a student that is grown or shrunk.
    """
    task, labels = setup.config.task, setup.labels
    if labels is None:
        return
    scoring = {f"teachers.{name}": teacher for name, teacher in teachers.items()}
    # One that is a teacher but not among those described has been told of already.
    if start is not None and start.source not in setup.config.teachers:
        source = load_config(start.source)
        scoring |= {"student.init": source} if has_classes(source, task) else {}
    for where, model_config in scoring.items():
        if remark := assumed_order(model_config, labels, where=where):
            yield remark
    if task == "token_classification" and (remark := why_no_entities(labels)):
        yield remark
