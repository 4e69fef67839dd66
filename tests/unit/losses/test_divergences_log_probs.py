"""Arithmetic on log probabilities, with classes of probability zero."""

import pytest
import torch
from raykd.losses.layers import kl
from raykd.losses.softened import widened

LOG_P_PK, LOG_Q_PK = (
    torch.randn(2, 40, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3
).log_softmax(dim=-1)


def test_kl_gives_both_sides_their_gradient() -> None:
    log_p_PK, log_q_PK = LOG_P_PK[:3].clone(), LOG_Q_PK[:3].clone()
    assert torch.autograd.gradcheck(kl, (log_p_PK.requires_grad_(), log_q_PK.requires_grad_()))


def test_what_p_rules_out_counts_nothing_and_what_q_alone_rules_out_is_infinite() -> None:
    log_half = torch.tensor(0.5).log().item()
    log_p_PK = torch.tensor([[0.0, -torch.inf, -torch.inf], [log_half, log_half, -torch.inf]])
    log_q_PK = torch.tensor([[log_half, log_half, -torch.inf], [0.0, -torch.inf, -torch.inf]])
    assert kl(log_p_PK, log_q_PK).tolist() == pytest.approx([-log_half, torch.inf])


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
