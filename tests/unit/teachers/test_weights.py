"""Weights of teachers: sums of 1 or 0, float64 references, and what they tend to."""

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from raykd.teachers.weights import (
    entropies,
    entropy_weights,
    importance,
    margins,
    max_margin,
    table_weights,
)

N, P, K = 4, 50, 7

WAYS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "importance": partial(importance, temperature=0.5),
    "max_margin": max_margin,
    "entropy": partial(entropy_weights, temperature=0.5),
    "table": table_weights,
}
every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


def probabilities(logits_PK: torch.Tensor) -> npt.NDArray[np.float64]:
    powers = np.exp(logits_PK.double().numpy())
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def drawn(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return margins of both signs, and teachers of whom some, all or none are asked."""
    generator = torch.Generator().manual_seed(seed)
    margins_NP = torch.rand(N, P, generator=generator) * 2 - 1
    is_asked_NP = torch.rand(N, P, generator=generator) < 0.6
    is_asked_NP[:, 0] = False
    is_asked_NP[:, 1] = True
    margins_NP[:, 2] = -margins_NP[:, 2].abs()
    return margins_NP, is_asked_NP


def test_margins_are_those_of_a_loop_in_float64() -> None:
    generator = torch.Generator().manual_seed(3)
    logits_PK = 5 * torch.randn(P, K, generator=generator)
    labels_P = torch.randint(K, (P,), generator=generator)
    expected = [
        of_position[label] - max(np.delete(of_position, label))
        for of_position, label in zip(probabilities(logits_PK), labels_P.tolist(), strict=True)
    ]
    found_P = margins(logits_PK, labels_P)
    np.testing.assert_allclose(found_P.numpy(), expected, atol=1e-6)
    assert ((found_P >= 0) == (logits_PK.argmax(-1) == labels_P)).all()


def test_margins_of_half_precision_are_float32_and_bounded() -> None:
    logits_PK = torch.tensor([[60000.0, -60000.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float16)
    assert margins(logits_PK, torch.tensor([0, 0])).tolist() == [1.0, 0.0]
    assert margins(logits_PK, torch.tensor([1, 2])).tolist() == [-1.0, 0.0]
    assert margins(logits_PK, torch.tensor([0, 0])).dtype == torch.float32


def test_entropies_are_those_of_float64_and_finite_at_certainty() -> None:
    logits_PK = 3 * torch.randn(P, K, generator=torch.Generator().manual_seed(4))
    p = probabilities(logits_PK)
    np.testing.assert_allclose(
        entropies(logits_PK).numpy(), -(p * np.log(p)).sum(axis=1), atol=1e-5
    )
    certain_PK = torch.tensor([[1e4, 0.0, -torch.inf]])
    assert entropies(certain_PK).tolist() == [0.0]
    uniform_PK = torch.zeros(1, 8)
    assert entropies(uniform_PK).item() == pytest.approx(np.log(8))


@pytest.mark.parametrize("temperature", [0.1, 0.5, 3.0])
def test_importance_is_the_softmax_over_those_asked_and_right(temperature: float) -> None:
    margins_NP, is_asked_NP = drawn()
    found_NP = importance(margins_NP.double(), is_asked_NP, temperature=temperature)
    for p in range(P):
        m = margins_NP[:, p].double().numpy()
        powers = np.exp(m / temperature) * is_asked_NP[:, p].numpy() * (m >= 0)
        expected = powers / powers.sum() if powers.sum() else powers
        np.testing.assert_allclose(found_NP[:, p].numpy(), expected, rtol=1e-12, atol=1e-15)


def test_entropy_weights_are_the_softmax_over_those_asked() -> None:
    margins_NP, is_asked_NP = drawn()
    entropies_NP = 1 + margins_NP.double()
    found_NP = entropy_weights(entropies_NP, is_asked_NP, temperature=0.3)
    for p in range(P):
        powers = np.exp(-entropies_NP[:, p].numpy() / 0.3) * is_asked_NP[:, p].numpy()
        expected = powers / powers.sum() if powers.sum() else powers
        np.testing.assert_allclose(found_NP[:, p].numpy(), expected, rtol=1e-12, atol=1e-15)


def test_importance_tends_to_the_teacher_with_the_largest_margin() -> None:
    margins_NP, is_asked_NP = drawn()
    cold_NP = importance(margins_NP, is_asked_NP, temperature=1e-6)
    assert torch.equal(cold_NP, max_margin(margins_NP, is_asked_NP))
    hot_NP = importance(margins_NP, is_asked_NP, temperature=1e6)
    counts_NP = (is_asked_NP & (margins_NP >= 0)).float()
    torch.testing.assert_close(hot_NP, counts_NP / counts_NP.sum(0).clamp(min=1))


def test_the_first_of_equal_margins_counts_alone_and_importance_shares() -> None:
    margins_NP = torch.tensor([[-0.1], [0.4], [0.4]])
    is_asked_NP = torch.ones(3, 1, dtype=torch.bool)
    assert max_margin(margins_NP, is_asked_NP).flatten().tolist() == [0, 1, 0]
    shared_NP = importance(margins_NP, is_asked_NP, temperature=1e-6)
    assert shared_NP.flatten().tolist() == [0, 0.5, 0.5]


@every_way
@given(seed=st.integers(0, 1000))
def test_weights_sum_to_one_or_are_nothing(
    way: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], seed: int
) -> None:
    values_NP, is_asked_NP = drawn(seed)
    weights_NP = way(values_NP.abs(), is_asked_NP)
    assert (weights_NP >= 0).all()
    assert (weights_NP[~is_asked_NP] == 0).all()
    torch.testing.assert_close(weights_NP.sum(0), is_asked_NP.any(0).float())


@every_way
@given(order=st.permutations(range(N)))
def test_the_order_of_teachers_does_not_matter(
    way: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], order: list[int]
) -> None:
    values_NP, is_asked_NP = drawn()
    values_NP = values_NP.abs()
    torch.testing.assert_close(
        way(values_NP[order], is_asked_NP[order]), way(values_NP, is_asked_NP)[order]
    )


@pytest.mark.parametrize("way", [WAYS["importance"], max_margin], ids=["importance", "max_margin"])
def test_teachers_that_are_all_wrong_count_nothing(
    way: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> None:
    everyone_NP = torch.ones(N, 1, dtype=torch.bool)
    assert way(torch.full((N, 1), -0.01), everyone_NP).tolist() == [[0.0]] * N
    assert way(torch.full((N, 1), 0.0), everyone_NP).sum() == 1


@every_way
def test_no_positions_have_no_weights(
    way: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> None:
    assert way(torch.zeros(N, 0), torch.zeros(N, 0, dtype=torch.bool)).shape == (N, 0)


def test_a_table_is_brought_to_one_over_those_that_serve() -> None:
    weights_NG = torch.tensor([[3.0, 3.0, 0.0, 3.0], [1.0, 1.0, 0.0, 1.0]], dtype=torch.float64)
    serves_NG = torch.tensor([[True, False, True, False], [True, True, True, False]])
    assert table_weights(weights_NG, serves_NG).tolist() == [[0.75, 0, 0, 0], [0.25, 1, 0, 0]]
