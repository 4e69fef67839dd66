"""Tensors of which every worker holds a share (FSDP2), read and written as whole ones."""

import torch
from torch.distributed.tensor import DTensor, distribute_tensor


def full_tensor(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor with all of its values; of one in shares, every worker asks together."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def distribute_like(values: torch.Tensor, *, like: torch.Tensor) -> torch.Tensor:
    """Return whole values as another tensor of their shape is held: there, and in such shares.

    Nothing is sent: every worker has all values, and keeps its share.
    """
    if not isinstance(like, DTensor):
        return values.to(like.device)
    return distribute_tensor(values, like.device_mesh, like.placements, src_data_rank=None)
