"""Losses on what is inside the models: formulas, gradients, and padding that never counts."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from raykd.losses.layers import (
    attention_mse,
    attention_scores,
    hidden_cosine,
    hidden_mse,
    relation_kl,
)
from torch.nn import functional as F

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

IS_TOKEN_BL = torch.tensor([[True, True, True, False], [True, True, True, True]])
NUM_TOKENS = 7


def seen(is_token_BL: torch.Tensor, *, causal: bool) -> torch.Tensor:
    sees_BLL = is_token_BL[:, None].expand(-1, is_token_BL.shape[1], -1)
    return sees_BLL.tril() if causal else sees_BLL


def scores_loss(is_token_BL: torch.Tensor, *, causal: bool) -> Loss:
    sees_BLL = seen(is_token_BL, causal=causal)

    def loss(student_BHLL: torch.Tensor, teacher_BHLL: torch.Tensor) -> torch.Tensor:
        return attention_mse(
            student_BHLL, teacher_BHLL, sees_BLL=sees_BLL, is_token_BL=is_token_BL
        )

    return loss


def relations_loss(is_token_BL: torch.Tensor, *, causal: bool) -> Loss:
    sees_BLL = seen(is_token_BL, causal=causal)

    def loss(student_BLD: torch.Tensor, teacher_BLD: torch.Tensor) -> torch.Tensor:
        return relation_kl(
            student_BLD, teacher_BLD, num_heads=2, sees_BLL=sees_BLL, is_token_BL=is_token_BL
        )

    return loss


LOSSES: dict[str, tuple[Loss, tuple[int, ...]]] = {
    "hidden_mse": (hidden_mse, (NUM_TOKENS, 5)),
    "hidden_cosine": (hidden_cosine, (NUM_TOKENS, 5)),
    "attention_mse": (scores_loss(IS_TOKEN_BL, causal=False), (2, 3, 4, 4)),
    "attention_mse_causal": (scores_loss(IS_TOKEN_BL, causal=True), (2, 3, 4, 4)),
    "relation_kl": (relations_loss(IS_TOKEN_BL, causal=False), (2, 4, 6)),
    "relation_kl_causal": (relations_loss(IS_TOKEN_BL, causal=True), (2, 4, 6)),
}
every_loss = pytest.mark.parametrize(("loss", "shape"), LOSSES.values(), ids=LOSSES)
both_kinds = pytest.mark.parametrize("causal", [False, True], ids=["encoder", "decoder"])


def seeded(*shape: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


@every_loss
def test_one_value_per_token_that_is_zero_where_the_models_agree(
    loss: Loss, shape: tuple[int, ...]
) -> None:
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        states = seeded(*shape, seed=0).to(dtype)
        assert loss(states, states.clone()).tolist() == [0.0] * NUM_TOKENS


@every_loss
def test_gradient_is_right(loss: Loss, shape: tuple[int, ...]) -> None:
    student, teacher = seeded(*shape, seed=0).requires_grad_(), seeded(*shape, seed=1)
    assert torch.autograd.gradcheck(lambda states: loss(states, teacher), (student,))


@every_loss
def test_no_gradient_reaches_the_teacher(loss: Loss, shape: tuple[int, ...]) -> None:
    student, teacher = (seeded(*shape, seed=seed).requires_grad_() for seed in (0, 1))
    loss(student, teacher).sum().backward()
    assert student.grad is not None
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None


@every_loss
def test_bfloat16_is_widened_before_anything_is_computed(
    loss: Loss, shape: tuple[int, ...]
) -> None:
    student, teacher = (seeded(*shape, seed=seed).bfloat16() * 100 for seed in (0, 1))
    values_T = loss(student.requires_grad_(), teacher)
    (gradient,) = torch.autograd.grad(values_T.sum(), student)
    assert values_T.dtype == torch.float32
    assert gradient.isfinite().all()
    exact_T = loss(student.double(), teacher.double())
    torch.testing.assert_close(values_T.double(), exact_T, rtol=1e-4, atol=1e-4)


def test_hidden_states_compare_as_their_formulas_say() -> None:
    student_TD, teacher_TD = seeded(4, 3, seed=0), seeded(4, 3, seed=1)
    s, t = student_TD.numpy(), teacher_TD.numpy()
    cosine = (s * t).sum(1) / np.linalg.norm(s, axis=1) / np.linalg.norm(t, axis=1)
    mse_T = hidden_mse(student_TD, teacher_TD)
    np.testing.assert_allclose(mse_T.numpy(), ((s - t) ** 2).mean(1), rtol=1e-12)
    np.testing.assert_allclose(hidden_cosine(student_TD, teacher_TD), 1 - cosine, rtol=1e-12)


def test_the_cosine_sees_the_direction_only() -> None:
    states_TD = seeded(4, 3, seed=0)
    assert hidden_cosine(5 * states_TD, states_TD).tolist() == pytest.approx([0.0] * 4, abs=1e-12)
    assert hidden_cosine(-states_TD, states_TD).tolist() == pytest.approx([2.0] * 4)


def test_the_cosine_tells_small_angles_apart_in_float32() -> None:
    student_TD = torch.tensor([[1.0, 1e-4], [1.0, 2e-4]])
    values_T = hidden_cosine(student_TD, torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    assert values_T.tolist() == pytest.approx([0.5e-8, 2e-8], rel=1e-3)


def test_a_state_of_zeros_is_half_away_with_a_finite_gradient() -> None:
    student_TD = torch.zeros(1, 3, requires_grad=True)
    value_T = hidden_cosine(student_TD, torch.ones(1, 3))
    (gradient_TD,) = torch.autograd.grad(value_T.sum(), student_TD)
    assert value_T.item() == pytest.approx(0.5)
    assert gradient_TD.isfinite().all()


def test_hidden_states_of_other_widths_are_refused() -> None:
    for loss in (hidden_mse, hidden_cosine):
        with pytest.raises(ValueError, match=r"student's \(2, 1\).*teacher's \(2, 4\)"):
            loss(torch.zeros(2, 1), torch.zeros(2, 4))


@both_kinds
def test_attention_scores_compare_over_the_keys_that_a_token_sees(causal: bool) -> None:
    student_BHLL, teacher_BHLL = seeded(2, 3, 4, 4, seed=0), seeded(2, 3, 4, 4, seed=1)
    squares = (student_BHLL - teacher_BHLL).numpy() ** 2
    expected = []
    for example, length in enumerate([3, 4]):
        for query in range(length):
            last = query + 1 if causal else length
            expected.append(squares[example, :, query, :last].mean())
    values_T = scores_loss(IS_TOKEN_BL, causal=causal)(student_BHLL, teacher_BHLL)
    np.testing.assert_allclose(values_T.numpy(), expected, rtol=1e-12)


def test_scores_of_other_heads_are_refused() -> None:
    with pytest.raises(ValueError, match=r"student's \(2, 1, 4, 4\).*teacher's \(2, 3, 4, 4\)"):
        scores_loss(IS_TOKEN_BL, causal=True)(torch.zeros(2, 1, 4, 4), torch.zeros(2, 3, 4, 4))


@both_kinds
def test_relations_compare_as_their_formula_says(causal: bool) -> None:
    student_BLD, teacher_BLD = seeded(2, 4, 6, seed=0), seeded(2, 4, 10, seed=1)
    expected = []
    for example, length in enumerate([3, 4]):
        for query in range(length):
            last = query + 1 if causal else length
            of_heads = []
            for head in range(2):
                s = student_BLD[example, :last, 3 * head : 3 * head + 3].numpy()
                t = teacher_BLD[example, :last, 5 * head : 5 * head + 5].numpy()
                q, p = np.exp(s @ s[query] / 3**0.5), np.exp(t @ t[query] / 5**0.5)
                q, p = q / q.sum(), p / p.sum()
                of_heads.append((p * np.log(p / q)).sum())
            expected.append(np.mean(of_heads))
    values_T = relations_loss(IS_TOKEN_BL, causal=causal)(student_BLD, teacher_BLD)
    np.testing.assert_allclose(values_T.numpy(), expected, rtol=1e-10, atol=1e-14)


def test_relation_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="2 relation heads do not divide the width 5"):
        relations_loss(IS_TOKEN_BL, causal=False)(torch.zeros(2, 4, 6), torch.zeros(2, 4, 5))


@both_kinds
@pytest.mark.parametrize("pads", [(2, 0), (0, 2)], ids=["left", "right"])
def test_more_padding_changes_no_value_and_no_gradient(
    causal: bool, pads: tuple[int, int]
) -> None:
    for make_loss, shape, widths in (
        (scores_loss, (2, 3, 4, 4), pads * 2),
        (relations_loss, (2, 4, 6), (0, 0, *pads)),
    ):
        student, teacher = seeded(*shape, seed=0), seeded(*shape, seed=1)
        values_T, gradient = gradients(make_loss(IS_TOKEN_BL, causal=causal), student, teacher)
        wide_values_T, wide_gradient = gradients(
            make_loss(F.pad(IS_TOKEN_BL, pads), causal=causal),
            F.pad(student, widths, value=3.0),
            F.pad(teacher, widths, value=-5.0),
        )
        torch.testing.assert_close(wide_values_T, values_T, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(wide_gradient, F.pad(gradient, widths), rtol=1e-12, atol=1e-14)


@both_kinds
@pytest.mark.parametrize("garbage", [1e30, torch.inf, torch.nan])
def test_what_padding_holds_reaches_no_value_and_no_gradient(causal: bool, garbage: float) -> None:
    is_pair_BLL = IS_TOKEN_BL[:, :, None] & IS_TOKEN_BL[:, None]
    for make_loss, shape, is_real in (
        (scores_loss, (2, 3, 4, 4), is_pair_BLL[:, None]),
        (relations_loss, (2, 4, 6), IS_TOKEN_BL[..., None]),
    ):
        loss = make_loss(IS_TOKEN_BL, causal=causal)
        student, teacher = seeded(*shape, seed=0), seeded(*shape, seed=1)
        spoilt = [states.masked_fill(~is_real, garbage) for states in (student, teacher)]
        torch.testing.assert_close(
            gradients(loss, *spoilt), gradients(loss, student, teacher), rtol=0, atol=0
        )


def gradients(
    loss: Loss, student: torch.Tensor, teacher: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the values of a loss and the gradient of their weighted sum."""
    student = student.clone().requires_grad_()
    values_T = loss(student, teacher)
    weights_T = torch.arange(1.0, len(values_T) + 1, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((weights_T * values_T).sum(), student)
    return values_T.detach(), gradient


@pytest.mark.parametrize("num_key_heads", [1, 2, 4])
def test_scores_are_those_of_the_attention_that_torch_computes(num_key_heads: int) -> None:
    query_BHLE = seeded(2, 4, 3, 5, seed=0)
    key_BGLE, value_BGLE = seeded(2, 2, num_key_heads, 3, 5, seed=1)
    expected_BHLE = F.scaled_dot_product_attention(
        query_BHLE, key_BGLE, value_BGLE, scale=0.3, enable_gqa=True
    )
    scores_BHLL = attention_scores(query_BHLE, key_BGLE, scaling=0.3)
    value_BHLE = value_BGLE.repeat_interleave(4 // num_key_heads, dim=1)
    torch.testing.assert_close(scores_BHLL.softmax(dim=-1) @ value_BHLE, expected_BHLE)


def test_scores_of_half_precisions_are_widened() -> None:
    query_BHLE = seeded(1, 1, 4, 64, seed=0).bfloat16()
    scores_BHLL = attention_scores(query_BHLE, query_BHLE, scaling=0.125)
    exact_BHLL = query_BHLE.double() @ query_BHLE.double().mT * 0.125
    torch.testing.assert_close(scores_BHLL, exact_BHLL.float(), rtol=1e-5, atol=1e-5)


def test_key_heads_that_cannot_be_shared_evenly_are_refused() -> None:
    with pytest.raises(ValueError, match="4 heads of queries cannot share 3 heads of keys"):
        attention_scores(torch.zeros(1, 4, 2, 2), torch.zeros(1, 3, 2, 2), scaling=1.0)
