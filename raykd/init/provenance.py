"""What an initialisation returns: the student's tensors, and where each comes from."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Where a tensor of the student comes from."""

    source: str | None
    """Name of the source tensor; None where the tensor keeps its own random start or is zero."""

    how: str
    """What was done with it in a few words: ``copied``, ``top-left block``, ``random: the
    source has other classes``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InitResult:
    """How a student starts."""

    state: dict[str, torch.Tensor]
    """Every distinct tensor of the student, by name."""

    provenance: dict[str, Origin]
    """For every tensor of the student, none left out, where it comes from."""
