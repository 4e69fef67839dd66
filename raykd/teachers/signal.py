"""What a teacher says about a batch, however it is produced."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from raykd.batch import Batch


@dataclass(frozen=True, kw_only=True, slots=True)
class DenseSignal:
    """Scores of every vocabulary entry or class at the scored positions."""

    logits_PK: torch.Tensor


Teacher = Callable[[Batch], DenseSignal]
"""From a batch to a signal on its scored positions, without gradient."""
