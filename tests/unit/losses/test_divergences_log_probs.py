"""Arithmetic on log probabilities, with classes of probability zero."""

import pytest
import torch
from raykd.losses.divergences import kl, log_mixture, widened

LOG_P_PK, LOG_Q_PK = (
    torch.randn(2, 40, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3
).log_softmax(dim=-1)
every_share = pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.999])


@every_share
def test_the_mixture_is_that_of_the_probabilities(share: float) -> None:
    expected_PK = (share * LOG_P_PK.exp() + (1 - share) * LOG_Q_PK.exp()).log()
    actual_PK = log_mixture(LOG_P_PK, LOG_Q_PK, share_of_p=share)
    torch.testing.assert_close(actual_PK, expected_PK, rtol=1e-12, atol=1e-14)


@every_share
def test_the_mixture_of_equals_is_that_very_number(share: float) -> None:
    log_p_PK = LOG_P_PK.float()
    assert log_mixture(log_p_PK, log_p_PK.clone(), share_of_p=share).equal(log_p_PK)


@every_share
def test_the_gradient_of_the_mixture_is_right_also_where_both_are_equal(share: float) -> None:
    log_q_PK = LOG_Q_PK[:4].clone()
    log_q_PK[0] = LOG_P_PK[0]
    assert torch.autograd.gradcheck(
        lambda log_q: log_mixture(LOG_P_PK[:4], log_q, share_of_p=share),
        (log_q_PK.requires_grad_(),),
    )


def test_the_mixture_survives_what_no_exponential_does() -> None:
    log_p_PK = torch.tensor([[0.0, -1e4, -torch.inf, 0.0, -torch.inf]])
    log_q_PK = torch.tensor([[-1e4, 0.0, 0.0, -torch.inf, -torch.inf]], requires_grad=True)
    log_m_PK = log_mixture(log_p_PK, log_q_PK, share_of_p=0.25)
    p, q = torch.tensor(0.25).log().item(), torch.tensor(0.75).log().item()
    assert log_m_PK[0].tolist() == pytest.approx([p, q, q, p, -torch.inf])
    (gradient_PK,) = torch.autograd.grad(log_m_PK[0, :4].sum(), log_q_PK)
    assert gradient_PK.tolist() == [[0.0, 1.0, 1.0, 0.0, 0.0]]


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=rf"must be in \[0, 1\), got {share}"):
        log_mixture(LOG_P_PK, LOG_Q_PK, share_of_p=share)


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
