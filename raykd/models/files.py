"""What a model's directory holds: its files, and the tensors in each.

A directory of a PerLanguageModel is that of a plain model of its first language, which
transformers loads without a word, and beside it a file with the heads of the others.
"""

import copy
from collections.abc import Mapping

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from raykd.models.parts import distinct_tensors
from raykd.models.per_language import PerLanguageModel, TaskModel

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
GENERATION_FILE = "generation_config.json"
INDEX_FILE = f"{WEIGHTS_FILE}.index.json"
"""Says in which file each tensor lies, where there are several."""

PROJECTIONS_FILE = "projections.safetensors"

_LANGUAGES_FIELD = "raykd_languages"


def tensors_by_file(model: TaskModel) -> dict[str, dict[str, torch.Tensor]]:
    """Return every tensor of a model once, by file and by its name there."""
    if not isinstance(model, PerLanguageModel):
        return {WEIGHTS_FILE: distinct_tensors(model)}
    return {
        WEIGHTS_FILE: distinct_tensors(model.model),
        PROJECTIONS_FILE: model.head_tensors(),
    }


def difference(
    saved: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]
) -> str | None:
    """Return in what names, shapes or types of tensors differ, for a message; None if alike."""
    if unknown := sorted(saved.keys() ^ expected.keys()):
        return f"{unknown[0]} is in one of the two"
    for name, tensor in expected.items():
        if (saved[name].shape, saved[name].dtype) != (tensor.shape, tensor.dtype):
            return (
                f"{name} is {list(saved[name].shape)} {saved[name].dtype}, but the model's is "
                f"{list(tensor.shape)} {tensor.dtype}"
            )
    return None


def languages_of(config: PreTrainedConfig) -> tuple[str, ...] | None:
    """Return the languages with a head in the model of a loaded configuration; None if plain.

    Raises:
        ValueError: The configuration says something that is no list of languages.
    """
    languages = getattr(config, _LANGUAGES_FIELD, None)
    if languages is None:
        return None
    if not isinstance(languages, list | tuple) or not all(isinstance(x, str) for x in languages):
        message = f"{_LANGUAGES_FIELD} is {languages!r}, not a list of languages"
        raise ValueError(message)
    return tuple(languages)


def config_with_languages(
    config: PreTrainedConfig, languages: tuple[str, ...] | None
) -> PreTrainedConfig:
    """Return a copy of a transformers configuration that says these languages, or None."""
    copied = copy.deepcopy(config)
    copied.__dict__.pop(_LANGUAGES_FIELD, None)
    if languages is not None:
        setattr(copied, _LANGUAGES_FIELD, languages)
    return copied


def with_projections(
    model: PreTrainedModel, languages: tuple[str, ...], projections: Mapping[str, torch.Tensor]
) -> PerLanguageModel:
    """Return a model of the first language with the heads of all, in the model's precision.

    Args:
        model: It becomes a part of the result.
        languages: As ``languages_of`` its configuration.
        projections: The tensors of the file beside the model's.

    Raises:
        ValueError: They are of other languages or another model.
    """
    shared = PerLanguageModel(model, languages)
    mine = shared.head_tensors()
    given = {name: tensor.to(model.dtype) for name, tensor in projections.items()}
    if unlike := difference(given, mine):
        message = f"{PROJECTIONS_FILE} is of another model than {CONFIG_FILE}: {unlike}"
        raise ValueError(message)
    for name, tensor in mine.items():
        tensor.copy_(given[name])
    return shared
