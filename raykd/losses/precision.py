"""The precision that losses are computed in."""

import torch


def widened(logits_PK: torch.Tensor) -> torch.Tensor:
    """Return logits in at least float32; float64 stays float64.

    Over many classes bfloat16 loses the small probabilities, and those are what
    distillation is after.
    """
    return logits_PK.to(torch.promote_types(logits_PK.dtype, torch.float32))
