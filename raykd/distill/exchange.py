"""What the workers tell each other in a step: one row of numbers each, by one reduction."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from raykd.batch import to_device
from raykd.distill.world import World


@dataclass(frozen=True, kw_only=True, slots=True)
class Exchanged:
    """What all workers say of a step, together."""

    loss: float
    terms: list[float]
    grad_norm: float
    counted: tuple[float, float]
    """Scored positions and tokens of the next step."""

    flags: tuple[int, ...]
    """The largest of each."""


def counted_by_all(counted: tuple[int, int], world: World) -> tuple[float, float]:
    """Return the scored positions and the tokens of a step over all workers."""
    # float64 counts exactly up to 2**53; float32 would lose tokens of a step beyond 2**24.
    positions, tokens = world.all_reduce_sum(_float64(counted)).tolist()
    return positions, tokens


def told(
    values_N: torch.Tensor, counted: tuple[int, int], flags: Sequence[int], world: World
) -> torch.Tensor:
    """Return the rows that all workers tell, for ``read``; the device is not waited for.

    Args:
        values_N: This worker's part of the objective and of each term, then the norm of the
            gradient, which all have alike; float64 on the device.
        counted: Its scored positions and tokens of the next step.
        flags: What it would have all agree on.
        world: Every worker takes part.
    """
    known = to_device(_float64([*counted, *flags]), world.device)
    return world.all_gather_rows(torch.cat([values_N, known]))


def read(rows_WN: torch.Tensor, *, num_terms: int) -> Exchanged:
    """Wait for what all workers tell, and bring it together, alike in all of them."""
    rows = rows_WN.tolist()
    sums = [sum(numbers) for numbers in zip(*rows, strict=True)]
    largest = [max(numbers) for numbers in zip(*rows, strict=True)]
    at_norm = 1 + num_terms
    return Exchanged(
        loss=sums[0],
        terms=sums[1:at_norm],
        grad_norm=rows[0][at_norm],
        counted=(sums[at_norm + 1], sums[at_norm + 2]),
        flags=tuple(round(flag) for flag in largest[at_norm + 3 :]),
    )


def _float64(numbers: Sequence[int]) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)
