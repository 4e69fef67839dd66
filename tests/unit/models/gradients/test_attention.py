"""Gradients of attention in bfloat16 on a CPU are those of float32, rounded at the end."""

import pytest
import torch
from raykd.models.gradients.attention import widen_attention_gradients
from torch.nn import functional as F

LENGTHS = torch.tensor([21, 5, 9, 13])


def gradients(dtype: torch.dtype, *, is_causal: bool) -> list[torch.Tensor]:
    """Return those of query, key and value, in float64; the inputs are the same in every type."""
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(4, 2, 21, 32, generator=generator).bfloat16().to(dtype) for _ in range(4)]
    inputs, upstream = [tensor.requires_grad_() for tensor in drawn[:3]], drawn[3]
    mask = (torch.arange(21) < LENGTHS[:, None])[:, None, None].expand(4, 1, 21, 21)
    query, key, value = inputs
    attended = F.scaled_dot_product_attention(
        query, key, value, attn_mask=None if is_causal else mask, is_causal=is_causal
    )
    return [gradient.double() for gradient in torch.autograd.grad(attended, inputs, upstream)]


@pytest.mark.parametrize("is_causal", [False, True])
def test_gradients_are_as_near_to_float64_as_bfloat16_holds(is_causal: bool) -> None:
    exact = gradients(torch.float64, is_causal=is_causal)
    single = gradients(torch.float32, is_causal=is_causal)
    widen_attention_gradients()
    for mine, reference in zip(gradients(torch.bfloat16, is_causal=is_causal), exact, strict=True):
        # 8 bits of the result, and of the output that was kept.
        assert (mine - reference).norm() < 2**-8 * reference.norm()
    for dtype, before in ((torch.float64, exact), (torch.float32, single)):
        after = gradients(dtype, is_causal=is_causal)
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(after, before, strict=True))


def test_gradients_in_bfloat16_are_those_of_the_kernel_for_float32() -> None:
    widen_attention_gradients()
    query, key, value, upstream = (torch.randn(2, 3, 7, 16).bfloat16() for _ in range(4))
    kernels = torch.ops.aten
    output, sums = kernels._scaled_dot_product_flash_attention_for_cpu(query, key, value)
    kept = [tensor.float() for tensor in (upstream, query, key, value, output, sums)]
    expected = kernels._scaled_dot_product_flash_attention_for_cpu_backward(*kept, 0.0, False)
    inputs = [tensor.requires_grad_() for tensor in (query, key, value)]
    attended = F.scaled_dot_product_attention(query, key, value)
    found = torch.autograd.grad(attended, inputs, upstream)
    for mine, theirs in zip(found, expected, strict=True):
        assert torch.equal(mine, theirs.bfloat16())
