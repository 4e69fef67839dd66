"""Hard cross entropy: value, gradient, and the edges of its input."""

import numpy as np
import pytest
import torch

from tests.unit.losses.on_logits import cross_entropy


def test_equals_the_float64_formula() -> None:
    logits_PK = torch.randn(7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels_P = torch.tensor([0, 1, 2, 3, 4, 0, 2])
    exponentials = np.exp(logits_PK.numpy())
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    expected = -np.log(probabilities[np.arange(7), labels_P.numpy()])
    actual_P = cross_entropy(logits_PK, labels_P)
    np.testing.assert_allclose(actual_P.numpy(), expected, rtol=1e-12)


def test_smoothed_labels_give_every_class_an_even_part_of_the_target() -> None:
    logits_PK = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    labels_P = torch.tensor([3, 0, 1, 2, 2])
    target_PK = np.full((5, 4), 0.3 / 4)
    target_PK[np.arange(5), labels_P.numpy()] += 0.7
    exponentials = np.exp(logits_PK.numpy())
    log_q_PK = np.log(exponentials / exponentials.sum(axis=1, keepdims=True))
    actual_P = cross_entropy(logits_PK, labels_P, label_smoothing=0.3)
    np.testing.assert_allclose(actual_P.numpy(), -(target_PK * log_q_PK).sum(1), rtol=1e-12)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_gradient_is_right(label_smoothing: float) -> None:
    logits_PK = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    labels_P = torch.tensor([2, 0, 1, 1])
    assert torch.autograd.gradcheck(
        lambda logits: cross_entropy(logits, labels_P, label_smoothing=label_smoothing),
        (logits_PK.requires_grad_(),),
    )


def test_huge_bfloat16_logits_stay_finite() -> None:
    logits_PK = torch.tensor([[1e4, -1e4], [-1e4, 1e4]], dtype=torch.bfloat16, requires_grad=True)
    values_P = cross_entropy(logits_PK, torch.tensor([0, 0]))
    values_P.sum().backward()
    assert logits_PK.grad is not None
    assert values_P.dtype == torch.float32
    assert values_P[0] == 0
    assert 1.9e4 < values_P[1] < 2.1e4
    assert logits_PK.grad.isfinite().all()


def test_no_positions_give_a_sum_that_backpropagates() -> None:
    logits_PK = torch.zeros(0, 3, requires_grad=True)
    total = cross_entropy(logits_PK, torch.zeros(0, dtype=torch.int64)).sum()
    total.backward()
    assert total == 0
    assert logits_PK.grad is not None
