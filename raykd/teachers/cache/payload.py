"""What is kept of a teacher's scores at each position, and how: what all ways have in common."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch

from raykd.scores import Scores

Mode = Literal["logits", "hidden", "top_k", "sampled"]
Precision = Literal["exact", "float16", "int8"]

Values = npt.NDArray[Any]
Columns = Mapping[str, Values]
"""Name to the values of P positions, [P, W]; W is the column's own."""

Keys = npt.NDArray[np.uint64]
"""A key for each position, alike in any batch: what is drawn at random depends on nothing else."""

Description = dict[str, Any]
Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True, slots=True)
class Payload:
    """What is kept of each position: part of the key of a cache."""

    mode: Mode
    precision: Precision | None = None
    """How values of the modes logits and hidden are rounded."""

    size: int | None = None
    """Classes or draws of the sparse modes."""

    def __str__(self) -> str:
        """Name it in a word or two."""
        return f"{self.mode} {self.precision or self.size}"


class Encoding(Protocol):
    """A way to keep scores."""

    def encode(self, scores: Scores, keys_P: Keys) -> dict[str, Values]:
        """Return what is kept of scores: columns, each [P, W], on the CPU."""

    def decode(self, columns: Columns, device: torch.device) -> Scores:
        """Return the scores of P positions on a device."""

    def on(self, device: torch.device) -> "Encoding":
        """Return the same with its own tensors on a device, so that ``decode`` moves none."""

    @property
    def bytes_per_position(self) -> float:
        """What is kept of one position."""

    @property
    def description(self) -> Description:
        """What else there is to know to decode, as JSON values; ``mode`` is in it."""

    @property
    def tensors(self) -> Tensors:
        """What is kept once for all positions."""


def as_values(tensor: torch.Tensor) -> Values:
    """Return a tensor as numbers that Arrow knows: bfloat16 as the integers with its bits."""
    tensor = tensor.detach().cpu().contiguous()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.view(torch.int16)
    values: Values = tensor.numpy()
    return values


def as_tensor(values: Values, dtype: torch.dtype) -> torch.Tensor:
    """Return what ``as_values`` made of a tensor of a type."""
    tensor = torch.from_numpy(values)
    return tensor.view(dtype) if dtype == torch.bfloat16 else tensor


def type_name(dtype: torch.dtype) -> str:
    """Return the name of a type in torch, such as float32."""
    return str(dtype).removeprefix("torch.")
