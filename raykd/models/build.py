"""Models built from a description instead of loaded weights."""

import difflib
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedConfig,
    PreTrainedModel,
)

from raykd.config.frozen import NOTHING, FrozenParts
from raykd.config.schema.model import ArchitectureConfig
from raykd.config.schema.prepare import NUMBER
from raykd.config.schema.run import TaskName
from raykd.errors import ConfigError
from raykd.models.families import (
    Family,
    family_of,
    head_of,
    num_positions,
    positions_before_first,
)
from raykd.models.parts import ParameterCount, num_parameters

AUTO_CLASSES: dict[TaskName, Any] = {
    "masked_lm": AutoModelForMaskedLM,
    "causal_lm": AutoModelForCausalLM,
    "sequence_classification": AutoModelForSequenceClassification,
    "token_classification": AutoModelForTokenClassification,
}
"""What transformers calls a model for each task."""

Fields = dict[str, Any]
"""Fields of a transformers configuration, whose types are the family's own."""

_WHERE = "student.architecture"
_NOT_PASSED_ON = ("model_type", "architectures", "transformers_version", "_name_or_path", "dtype")


@dataclass(frozen=True, kw_only=True, slots=True)
class Vocabulary:
    """What the data decides about a model."""

    size: int
    """Entries of the tokenizer, added tokens included."""

    pad_id: int
    max_length: int
    """Tokens of the longest row."""

    labels: tuple[str, ...] | None
    """Names of the classes, or NUMBER; None for language modelling."""


def build_config(
    architecture: ArchitectureConfig, *, like: PreTrainedConfig | None, vocabulary: Vocabulary
) -> PreTrainedConfig:
    """Return the transformers configuration that a section describes.

    Args:
        architecture: What is given replaces what the family, or ``like``, has.
        like: Configuration of the model whose architecture is taken where ``model_type`` is
            null. A vocabulary that it pads beyond the tokenizer's is kept, so that its
            embeddings can be copied, and so are its special ids.
        vocabulary: Of the prepared data.

    Raises:
        ConfigError: A field is unknown, or fields contradict each other.
        ModelError: raykd does not know the family.
    """
    if architecture.model_type is not None or like is None:
        model_type = architecture.model_type or ""
        family = family_of(model_type, where=f"{_WHERE}.model_type")
        # Special ids and size of the family's first model's vocabulary mean nothing here.
        base = {**AutoConfig.for_model(model_type).to_dict(), "vocab_size": 0}
        base |= {name: None for name in base if name.endswith("_token_id")}
    else:
        family = family_of(like.model_type, where=_WHERE)
        base = like.to_dict()
    _check_settings(architecture, base, family)
    fields = {name: value for name, value in base.items() if name not in _NOT_PASSED_ON}
    fields |= _data_fields(family, base, vocabulary)
    # A derived field would keep the value that followed from the other model's sizes.
    for name in family.derived:
        fields.pop(name, None)
    fields |= _architecture_fields(architecture, base, family)
    config = _constructed(family, fields | dict(architecture.settings))
    _check_fit(config, vocabulary)
    return config


def build_model(config: PreTrainedConfig, task: TaskName) -> PreTrainedModel:
    """Return a transformers model with random weights, drawn with torch's present seed.

    Raises:
        ModelError: The family does not serve the task.
        ConfigError: The configuration is of no model.
    """
    # A configuration that is loaded knows its directory.
    where = config.name_or_path or _WHERE
    head_of(config.model_type, task, where=where)
    try:
        return AUTO_CLASSES[task].from_config(config)
    except (ValueError, KeyError, RuntimeError, ArithmeticError, TypeError) as error:
        message = f"{where}: a {config.model_type} model cannot be built: {error}"
        raise ConfigError(message) from error


def count_parameters(
    config: PreTrainedConfig, task: TaskName, *, without: FrozenParts = NOTHING
) -> ParameterCount:
    """Count a model's parameters from its configuration, without memory for them.

    Args:
        config: Of the model.
        task: That it has a head for.
        without: Parts that are left out.
    """
    with torch.device("meta"):
        return num_parameters(build_model(config, task), without=without)


def class_fields(labels: tuple[str, ...]) -> Fields:
    """Return what a configuration says of classes of which each example or token has one.

    Of NUMBER it is what transformers knows regression by.
    """
    if labels == NUMBER:
        name = "LABEL_0"
        return {"id2label": {0: name}, "label2id": {name: 0}, "problem_type": "regression"}
    return {
        "id2label": dict(enumerate(labels)),
        "label2id": {name: index for index, name in enumerate(labels)},
        # A start may say otherwise; pipelines would then show other scores.
        "problem_type": "single_label_classification",
    }


def _check_settings(architecture: ArchitectureConfig, base: Fields, family: Family) -> None:
    names = _attribute_map(family)
    own = {
        names.get("num_hidden_layers", "num_hidden_layers"): "num_layers",
        names.get("hidden_size", "hidden_size"): "hidden_size",
        names.get("num_attention_heads", "num_attention_heads"): "num_heads",
        family.intermediate_size: "intermediate_size",
    }
    known = {*base, *names, *family.undeclared, *family.derived}
    for name in architecture.settings:
        if (key := own.get(names.get(name, name))) is not None:
            message = f"{_WHERE}.settings.{name}: has a key of its own; write {_WHERE}.{key}"
            raise ConfigError(message)
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            advice = f"did you mean {close[0]}?" if close else f"it has {sorted(known)}"
            message = f"{_WHERE}.settings.{name}: {family.model_type} has no such field; {advice}"
            raise ConfigError(message)


def _data_fields(family: Family, base: Fields, vocabulary: Vocabulary) -> Fields:
    """Fit the model to the data: its vocabulary, its longest row, its classes."""
    needed = vocabulary.max_length + positions_before_first(family, pad_id=vocabulary.pad_id)
    positions = next(n for n in ("max_position_embeddings", "n_positions") if n in base)
    fields: Fields = {
        "vocab_size": max(vocabulary.size, base["vocab_size"]),
        "pad_token_id": vocabulary.pad_id,
        positions: max(base[positions], needed),
    }
    if vocabulary.labels is not None:
        fields |= class_fields(vocabulary.labels)
    return fields


def _architecture_fields(architecture: ArchitectureConfig, base: Fields, family: Family) -> Fields:
    given = {
        "num_hidden_layers": architecture.num_layers,
        "hidden_size": architecture.hidden_size,
        "num_attention_heads": architecture.num_heads,
        family.intermediate_size: architecture.intermediate_size,
    }
    fields: Fields = {name: value for name, value in given.items() if value is not None}
    for name, value in fields.items():
        if value < 1:
            message = f"{_WHERE}: {name} must be >= 1, got {value}"
            raise ConfigError(message)
    if architecture.num_heads is not None and base.get("num_key_value_heads"):
        # As many groups as before where the heads still divide; else every head has its own.
        key_value_heads = min(base["num_key_value_heads"], architecture.num_heads)
        divides = architecture.num_heads % key_value_heads == 0
        fields["num_key_value_heads"] = key_value_heads if divides else architecture.num_heads
    if "head_dim" in family.derived:
        fields["head_dim"] = _head_dim(architecture, base)
    if architecture.dropout is not None:
        fields |= dict.fromkeys(family.dropouts, architecture.dropout)
    return fields


def _head_dim(architecture: ArchitectureConfig, base: Fields) -> int:
    """Keep the width of a head, which need not be a share of the hidden size, if it can be."""
    if architecture.hidden_size is None and architecture.num_heads is None:
        return int(base["head_dim"])
    width = architecture.hidden_size or base["hidden_size"]
    return int(width // (architecture.num_heads or base["num_attention_heads"]))


def _attribute_map(family: Family) -> dict[str, str]:
    """Return the family's own names of fields that all configs know by another."""
    return dict(transformers.CONFIG_MAPPING[family.model_type].attribute_map)


def _constructed(family: Family, fields: Fields) -> PreTrainedConfig:
    names = _attribute_map(family)
    # One name for each field: a config takes both n_layer and num_hidden_layers.
    unified = {names.get(name, name): value for name, value in fields.items()}
    hidden_size = unified[names.get("hidden_size", "hidden_size")]
    num_heads = unified[names.get("num_attention_heads", "num_attention_heads")]
    if hidden_size % num_heads:
        message = (
            f"{_WHERE}: hidden_size ({hidden_size}) must be a multiple of num_heads ({num_heads})"
        )
        raise ConfigError(message)
    try:
        return transformers.CONFIG_MAPPING[family.model_type](**unified)
    except (ValueError, TypeError, StrictDataclassError) as error:
        message = f"{_WHERE}: not a {family.model_type} model: {' '.join(str(error).split())}"
        raise ConfigError(message) from error


def _check_fit(config: PreTrainedConfig, vocabulary: Vocabulary) -> None:
    """Refuse settings that would let the data's ids or positions run out of a table."""
    longest = num_positions(config)
    too_small = {
        "vocab_size": (config.vocab_size, vocabulary.size),
        "max_position_embeddings": (longest, vocabulary.max_length),
    }
    for name, (has, needs) in too_small.items():
        if has is not None and has < needs:
            message = f"{_WHERE}.settings.{name}: holds {has}, but the data needs {needs}"
            raise ConfigError(message)
    if config.pad_token_id != vocabulary.pad_id:
        message = (
            f"{_WHERE}.settings.pad_token_id: is {config.pad_token_id}, but the data's is "
            f"{vocabulary.pad_id}; leave it out"
        )
        raise ConfigError(message)
