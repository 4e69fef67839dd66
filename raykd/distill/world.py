"""The workers of a run, as the algorithm sees them: who I am, and sums over all."""

from dataclasses import dataclass, field
from typing import TypeVar

import torch
import torch.distributed

from raykd.config.schema.train import ClusterConfig

T = TypeVar("T")


def local_device(cluster: ClusterConfig) -> torch.device | None:
    """Return what a run computes on in this process; None where it asks for a GPU in vain."""
    if cluster.gpus_per_worker == 0:
        return torch.device("cpu")
    return torch.device("cuda") if torch.cuda.is_available() else None


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """One worker among all; a run in one process is a world of size 1."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def all_reduce_sum(self, values: torch.Tensor) -> torch.Tensor:
        """Return the element-wise sum of a tensor over all workers; one on the device changes."""
        # NCCL takes tensors of a GPU only.
        values = values.to(self.device)
        if self.size > 1:
            torch.distributed.all_reduce(values)
        return values

    def all_gather(self, lines: torch.Tensor) -> torch.Tensor:
        """Return the lines of a tensor on the CPU of all workers, in the order of their ranks.

        Workers may have different numbers of them.
        """
        if self.size == 1:
            return lines
        parts = [lines] * self.size
        torch.distributed.all_gather_object(parts, lines)
        return torch.cat(parts)

    def all_gather_rows(self, row_N: torch.Tensor) -> torch.Tensor:
        """Return the rows of all workers, [W, N], on the device, by one reduction.

        Args:
            row_N: On the device; of the same length in all workers.
        """
        # A sum with zeros is exact, also of NaN and infinity, which stay in their own row.
        rows_WN = row_N.new_zeros(self.size, len(row_N))
        rows_WN[self.rank] = row_N
        return self.all_reduce_sum(rows_WN)

    def all_reduce_max(self, values: list[int]) -> list[int]:
        """Return the element-wise maximum of some numbers over all workers."""
        if self.size == 1:
            return values
        tensor = torch.tensor(values, device=self.device)
        torch.distributed.all_reduce(tensor, op=torch.distributed.ReduceOp.MAX)
        return [int(value) for value in tensor.tolist()]

    def broadcast(self, value: T) -> T:
        """Return the value of the first worker; what the others pass is ignored."""
        if self.size == 1:
            return value
        values = [value]
        torch.distributed.broadcast_object_list(values, src=0)
        return values[0]
