"""From a section of student.init to the method that it names."""

from dataclasses import dataclass

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from raykd.axes import Scores
from raykd.config.schema.init import (
    CopyLayersConfig,
    ExpandConfig,
    InitConfig,
    LigoConfig,
    RemapConfig,
    SelectConfig,
    SubcloneConfig,
)
from raykd.errors import ConfigError
from raykd.init.copy_layers import copy_layers
from raykd.init.expand import expand
from raykd.init.ligo import GrowthOperator
from raykd.init.provenance import InitResult
from raykd.init.remap import remap
from raykd.init.select import select
from raykd.init.subclone import subclone
from raykd.layer_map import growth_map, layer_map, validate
from raykd.models.parts import num_layers, weights_of


@dataclass(frozen=True, kw_only=True, slots=True)
class InitPair:
    """The two models of a start, of transformers; both may be on the meta device."""

    source: PreTrainedModel
    student: PreTrainedModel
    layers: tuple[int, ...]
    """Source layer of each student layer, counted from 0."""

    class_order: tuple[int, ...] | None
    """Source class of each class of the data; None where they are others, or none are scored."""

    seed: int


def source_layers(
    init: InitConfig, *, student: PreTrainedConfig, source: PreTrainedConfig
) -> tuple[int, ...]:
    """Return the source layer of each student layer, from their transformers configurations.

    Raises:
        ConfigError: The layers asked for are not there, or one model is too deep for the method.
    """
    try:
        return _layers(init, num_student=num_layers(student), num_source=num_layers(source))
    except ValueError as error:
        message = f"student.init.{init.name}: {error}"
        raise ConfigError(message) from error


def applied(init: InitConfig, pair: InitPair, *, scores: Scores | None) -> InitResult:
    """Apply a method as far as it learns nothing.

    Args:
        init: With one method.
        pair: What it is applied to.
        scores: Of the source's units, for subclone; None where only the provenance counts.

    Raises:
        ModelError: The source does not fit the student.
    """
    both, order = (weights_of(pair.source), weights_of(pair.student)), pair.class_order
    match init.method:
        case CopyLayersConfig(parts=parts):
            return copy_layers(*both, layers=pair.layers, parts=parts, class_order=order)
        case RemapConfig():
            return remap(*both, layers=pair.layers, class_order=order)
        case ExpandConfig(width=width, depth=depth):
            return expand(
                *both, width=width, depth=depth, class_order=order, generator=_generator(pair)
            )
        case SelectConfig(indices=indices):
            return select(*both, layers=pair.layers, indices=indices, class_order=order)
        case SubcloneConfig():
            return subclone(*both, layers=pair.layers, scores=scores, class_order=order)
        case LigoConfig():
            return growth_operator(pair).result()


def growth_operator(pair: InitPair) -> GrowthOperator:
    """Return LiGO's operator as it starts.

    Raises:
        ModelError: The source does not fit the student.
    """
    return GrowthOperator(
        weights_of(pair.source),
        weights_of(pair.student),
        layers=pair.layers,
        class_order=pair.class_order,
        generator=_generator(pair),
    )


def _layers(init: InitConfig, *, num_student: int, num_source: int) -> tuple[int, ...]:
    counts = {"num_student_layers": num_student, "num_source_layers": num_source}
    match init.method:
        case CopyLayersConfig(layers=layers) if layers is not None:
            validate(layers, **counts)
            return layers
        case CopyLayersConfig() | SelectConfig() | SubcloneConfig() as method:
            return layer_map(method.pattern, **counts)
        case RemapConfig() | LigoConfig() | ExpandConfig() as method:
            # Layers that add nothing are put between the others.
            depth = "interleave" if method.depth == "identity" else method.depth
            return growth_map(depth, **counts)


def _generator(pair: InitPair) -> torch.Generator:
    return torch.Generator().manual_seed(pair.seed)
