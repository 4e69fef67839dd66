"""Start a student from whole layers of a source model, tensor by tensor."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from raykd.errors import ModelError
from raykd.layer_map import Part, Place

RANDOM = "random"


@dataclass(frozen=True, kw_only=True, slots=True)
class InitResult:
    """How a student starts."""

    state: dict[str, torch.Tensor]
    """Every tensor of the student, by name."""

    provenance: dict[str, str]
    """For every tensor of the student, the source tensor it is equal to, or ``random``."""


def copy_layers(
    source_state: Mapping[str, torch.Tensor],
    target_state: Mapping[str, torch.Tensor],
    *,
    source_places: Mapping[str, Place],
    target_places: Mapping[str, Place],
    layers: Sequence[int],
    parts: Collection[Part],
) -> InitResult:
    """Return the target's state with the asked parts taken from the source.

    A tensor is taken from the same place of the source, a tensor of layer i from layer
    ``layers[i]``, and brought to the target's precision. Parts not asked for stay as they are.

    Args:
        source_state: Tensors to copy; tied tensors may appear under each of their names.
        target_state: Tensors to replace; tied tensors under one name, or a copy of one name
            could be undone by the other.
        source_places: Where each source tensor stands.
        target_places: Where each target tensor stands.
        layers: Source layer of each target layer, counted from 0.
        parts: What is copied.

    Raises:
        ModelError: The source lacks a tensor, or one differs in shape.
    """
    source_names = {source_places[name]: name for name in source_state}
    state, provenance, problems = dict(target_state), {}, []
    for name, tensor in target_state.items():
        place = target_places[name]
        provenance[name] = RANDOM
        if place.part not in parts:
            continue
        source_name = source_names.get(_followed(place, layers))
        if problem := _misfit(name, tensor, source_name, source_state):
            problems.append(problem)
        elif source_name is not None:
            state[name] = source_state[source_name].to(tensor, copy=True)
            provenance[name] = source_name
    if problems:
        more = f" (and {len(problems) - 1} tensors more)" if len(problems) > 1 else ""
        message = (
            f"{problems[0]}{more}; copy_layers needs equal widths, lengths and labels: "
            "change student.architecture or leave the part out of copy_layers.parts"
        )
        raise ModelError(message)
    return InitResult(state=state, provenance=provenance)


def _followed(place: Place, layers: Sequence[int]) -> Place:
    return place if place.layer is None else replace(place, layer=layers[place.layer])


def _misfit(
    name: str,
    tensor: torch.Tensor,
    source_name: str | None,
    source_state: Mapping[str, torch.Tensor],
) -> str | None:
    if source_name is None:
        return f"{name}: the source has no such tensor"
    if (shape := source_state[source_name].shape) == tensor.shape:
        return None
    return (
        f"{name}: the student's is {list(tensor.shape)}, the source's {source_name} is "
        f"{list(shape)}"
    )
