"""The tensors of a model: where each stands, which are one and the same, how large they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from raykd.layer_map import Place
from raykd.models.families import Family, family_of


@dataclass(frozen=True, kw_only=True, slots=True)
class ParameterCount:
    """Numbers of parameters; a tied one counts once."""

    embeddings: int
    layers: int
    """In the encoder: all layers, and norms or tables that belong to none of them."""

    head: int

    @property
    def total(self) -> int:
        """Return the number of all parameters."""
        return self.embeddings + self.layers + self.head


def places_of(model: Any) -> dict[str, Place]:
    """Return where every tensor of a transformers model stands, by its name.

    A tied tensor appears under each of its names.

    Raises:
        ModelError: The model is of an unknown family.
    """
    family = family_of(model.config.model_type, where=type(model).__name__)
    return {name: _place(name, family) for name in model.state_dict()}


def distinct_tensors(model: Any) -> dict[str, torch.Tensor]:
    """Return every tensor of a model once; one tied to an embedding under the embedding's name."""
    places = places_of(model)
    by_identity: dict[int, list[str]] = {}
    tensors = model.state_dict(keep_vars=True)
    for name, tensor in tensors.items():
        by_identity.setdefault(id(tensor), []).append(name)
    kept = [
        min(names, key=lambda name: (places[name].part != "embeddings", name))
        for names in by_identity.values()
    ]
    return {name: tensors[name].detach() for name in kept}


def set_tensors(model: Any, state: Mapping[str, torch.Tensor]) -> None:
    """Write a tensor into every distinct tensor of a model, named as in ``distinct_tensors``."""
    for name, tensor in distinct_tensors(model).items():
        tensor.copy_(state[name])


def num_parameters(model: Any) -> ParameterCount:
    """Count the parameters of a model, by part; it may be on the meta device."""
    places = places_of(model)
    counts = {"embeddings": 0, "encoder": 0, "head": 0}
    for name, tensor in distinct_tensors(model).items():
        counts[places[name].part] += tensor.numel()
    return ParameterCount(
        embeddings=counts["embeddings"], layers=counts["encoder"], head=counts["head"]
    )


def num_layers(config: Any) -> int:
    """Return the number of transformer layers of a config."""
    return int(config.num_hidden_layers)


def _place(name: str, family: Family) -> Place:
    backbone, _, inner = name.partition(".")
    if backbone != family.backbone or inner.startswith(_modules(family.backbone_head)):
        return Place(part="head", layer=None, name=name)
    if inner.startswith(_modules(family.embeddings)):
        return Place(part="embeddings", layer=None, name=inner)
    if inner.startswith(_modules((family.layers,))):
        index, _, rest = inner.removeprefix(f"{family.layers}.").partition(".")
        return Place(part="encoder", layer=int(index), name=rest)
    return Place(part="encoder", layer=None, name=inner)


def _modules(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{name}." for name in names)
