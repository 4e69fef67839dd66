"""Which index of a smaller or larger range each index of another follows.

Suffixes: J indices of the target, S indices of the source.
"""

from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexMap:
    """One space of a target in terms of the same space of a source."""

    source_J: torch.Tensor
    """Source index of each target index, int64; -1 where the target index has none."""

    num_source: int

    @property
    def copies_S(self) -> torch.Tensor:  # noqa: N802  a tensor, named like the fields
        """How many target indices follow each source index, int64."""
        return torch.bincount(self.source_J[self.source_J >= 0], minlength=self.num_source)

    @property
    def is_repeat_J(self) -> torch.Tensor:  # noqa: N802  a tensor, named like the fields
        """True where an earlier target index follows the same source index."""
        # Stable: of the targets that follow one source, the lowest comes first and is no repeat.
        order_J = self.source_J.argsort(stable=True)
        sorted_J = self.source_J[order_J]
        is_repeat_J = torch.zeros_like(self.source_J, dtype=torch.bool)
        is_repeat_J[order_J[1:]] = (sorted_J[1:] == sorted_J[:-1]) & (sorted_J[1:] >= 0)
        return is_repeat_J

    @property
    def is_identity(self) -> bool:
        """Whether target and source are the same, index by index."""
        return torch.equal(self.source_J, torch.arange(self.num_source))


def first(num_source: int, num_target: int) -> torch.Tensor:
    """Return 0, 1, 2, ..., -1 beyond the source: int64, shape [num_target]."""
    index_J = torch.arange(num_target)
    return torch.where(index_J < num_source, index_J, -1)


def evenly(num_source: int, num_target: int) -> torch.Tensor:
    """Return i * num_source // num_target for every i: int64, shape [num_target]."""
    return torch.arange(num_target) * num_source // max(num_target, 1)


def centred(num_source: int, num_target: int) -> torch.Tensor:
    """Return the indices that put the middle of one on the middle of the other, -1 beyond.

    Tables of relative positions are so: their middle row is the distance 0.
    """
    index_J = torch.arange(num_target) - (num_target // 2 - num_source // 2)
    return torch.where((index_J >= 0) & (index_J < num_source), index_J, -1)


def rounds(num_source: int, num_target: int, generator: torch.Generator) -> torch.Tensor:
    """Return every index in order, then all again in random orders, up to num_target indices."""
    again = [
        torch.randperm(num_source, generator=generator) for _ in range(num_target // num_source)
    ]
    return torch.cat([torch.arange(num_source), *again])[:num_target]


def largest(scores_S: torch.Tensor, num_kept: int) -> torch.Tensor:
    """Return the indices of the largest along the last dimension, ascending: [..., num_kept].

    Of equal scores the lower index is kept.
    """
    order_S = scores_S.argsort(dim=-1, descending=True, stable=True)
    return order_S[..., :num_kept].sort(dim=-1).values
