"""Numbers as 8-bit integers with a factor for each row of values."""

import torch

_LARGEST = 127
"""The same on both sides of 0: rounding never leaves int8, whose -128 stays unused."""


def quantised(values_PD: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return integers, int8 of shape [P, D], and the factor of each row, float32 of shape [P].

    The largest value of a row becomes 127 or -127, so no value is off by more than half a factor.
    A row of zeros has the factor 1.
    """
    values_PD = values_PD.float()
    largest_P = values_PD.abs().amax(dim=-1)
    factor_P = torch.where(largest_P > 0, largest_P / _LARGEST, 1.0)
    return (values_PD / factor_P.unsqueeze(-1)).round().to(torch.int8), factor_P


def restored(integers_PD: torch.Tensor, factor_P: torch.Tensor) -> torch.Tensor:
    """Return the values that integers and factors stand for, float32, shape [P, D]."""
    return integers_PD.float() * factor_P.unsqueeze(-1)
