"""Sharded tensors (FSDP2: every worker holds some rows), read and written as full ones."""

import torch
from torch.distributed.tensor import DTensor, distribute_tensor


def full_tensor(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor with all of its values, by an all-gather where it is sharded.

    Of a sharded tensor every worker must call this, in the same order: it is a collective.
    """
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def distribute_like(values: torch.Tensor, *, like: torch.Tensor) -> torch.Tensor:
    """Return full values on the device of another tensor of their shape, and sharded as it is.

    Nothing is sent: every worker has all values, and keeps its shard.
    """
    if not isinstance(like, DTensor):
        return values.to(like.device)
    # Without src_data_rank=None, DTensor would scatter the values of rank 0.
    return distribute_tensor(values, like.device_mesh, like.placements, src_data_rank=None)
