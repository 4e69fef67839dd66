import torch
from raykd.losses.precision import widened


def test_half_precisions_widen_to_float32_and_float64_stays() -> None:
    widths = {
        dtype: widened(torch.zeros(1, 2, dtype=dtype)).dtype
        for dtype in (torch.bfloat16, torch.float16, torch.float32, torch.float64)
    }
    assert widths == {
        torch.bfloat16: torch.float32,
        torch.float16: torch.float32,
        torch.float32: torch.float32,
        torch.float64: torch.float64,
    }
