"""The tensors of a model: where each stands, which are one and the same, how large they are."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from raykd.axes import Axis, Weights
from raykd.config.frozen import NOTHING, FrozenParts
from raykd.layer_map import Place
from raykd.models.axes import axes_of, widths_of
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


def places_of(model: PreTrainedModel) -> dict[str, Place]:
    """Return where every tensor of a transformers model stands, by its name.

    A tied tensor appears under each of its names.

    Raises:
        ModelError: The model is of an unknown family.
    """
    family = family_of(model.config.model_type, where=type(model).__name__)
    return {name: _place(name, family) for name in model.state_dict()}


def distinct_tensors(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """Return every tensor of a model once; one tied to an embedding under the embedding's name."""
    tensors = model.state_dict(keep_vars=True)
    return {names[0]: tensors[names[0]].detach() for names in _tied_names(model)}


def weights_of(model: PreTrainedModel) -> Weights:
    """Return the tensors of a transformers model, described; it may be on the meta device.

    The tensors share their memory with the model.

    Raises:
        ModelError: The model is of an unknown family or has a tensor of an unknown kind.
    """
    family = family_of(model.config.model_type, where=type(model).__name__)
    places, axes, state = places_of(model), axes_of(model), distinct_tensors(model)
    scores_vocabulary = any(
        places[name].part == "head" and axes[name][0].space == "vocabulary" for name in places
    )
    norms = tuple(f"{norm}." for norm in family.decoder_norms)
    return Weights(
        state=state,
        aliases={alias: kept for kept, *others in _tied_names(model) for alias in others},
        places=places,
        axes=axes,
        widths=widths_of(model.config),
        num_layers=num_layers(model.config),
        is_tied=scores_vocabulary and not any(_is_decoder(axes[name]) for name in state),
        is_pre_norm=family.is_pre_norm,
        decoder_norm=tuple(n for n in state if scores_vocabulary and n.startswith(norms)),
    )


def set_tensors(model: PreTrainedModel, state: Mapping[str, torch.Tensor]) -> None:
    """Write a tensor into every distinct tensor of a model, named as in ``distinct_tensors``."""
    for name, tensor in distinct_tensors(model).items():
        tensor.copy_(state[name])


def freeze(model: PreTrainedModel, frozen: FrozenParts) -> list[torch.nn.Module]:
    """Take the gradient from parts of a model; return the modules in them.

    A tied tensor is frozen with the embeddings.
    """
    places, tensors = places_of(model), model.state_dict(keep_vars=True)
    for name, *_ in _tied_names(model):
        if frozen.covers(places[name].part, layer=places[name].layer):
            tensors[name].requires_grad_(requires_grad=False)
    family = family_of(model.config.model_type, where=type(model).__name__)
    # As if each had a tensor of its own; a list of layers has none, and is at no place.
    module_places = [
        (module, _place(f"{name}.", family))
        for name, module in model.named_modules()
        if not isinstance(module, torch.nn.ModuleList)
    ]
    return [m for m, place in module_places if frozen.covers(place.part, layer=place.layer)]


def num_parameters(model: PreTrainedModel, *, without: FrozenParts = NOTHING) -> ParameterCount:
    """Count the parameters of a model, by part; it may be on the meta device.

    Args:
        model: Of transformers.
        without: Parts that are left out.
    """
    places = places_of(model)
    counts = {"embeddings": 0, "encoder": 0, "head": 0}
    for name, tensor in distinct_tensors(model).items():
        if not without.covers(places[name].part, layer=places[name].layer):
            counts[places[name].part] += tensor.numel()
    return ParameterCount(
        embeddings=counts["embeddings"], layers=counts["encoder"], head=counts["head"]
    )


def num_layers(config: PreTrainedConfig) -> int:
    """Return the number of transformer layers of a config."""
    return int(config.num_hidden_layers)


def _tied_names(model: PreTrainedModel) -> list[list[str]]:
    """Return the names of each distinct tensor, one in the embeddings first."""
    places = places_of(model)
    by_identity: dict[int, list[str]] = {}
    # keep_vars: the detached tensors of a plain state dict are objects of their own.
    for name, tensor in model.state_dict(keep_vars=True).items():
        by_identity.setdefault(id(tensor), []).append(name)
    return [
        sorted(names, key=lambda name: (places[name].part != "embeddings", name))
        for names in by_identity.values()
    ]


def _is_decoder(axes: tuple[Axis, ...]) -> bool:
    return [(axis.space, axis.role) for axis in axes] == [("vocabulary", "out"), ("hidden", "in")]


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
