"""Properties that every divergence must have, and what distinguishes each."""

import functools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from raykd.losses.divergences import forward_kl, logit_mse

Divergence = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
FloatArray = npt.NDArray[np.float64]


def kl_at(temperature: float, *, scaled: bool = True) -> Divergence:
    return functools.partial(
        forward_kl, temperature=temperature, scale_by_temperature_squared=scaled
    )


DIVERGENCES: dict[str, Divergence] = {
    "forward_kl": kl_at(1.0),
    "forward_kl_cold": kl_at(0.5),
    "forward_kl_hot": kl_at(4.0),
    "forward_kl_hot_unscaled": kl_at(4.0, scaled=False),
    "logit_mse": logit_mse,
}
every_divergence = pytest.mark.parametrize("divergence", DIVERGENCES.values(), ids=DIVERGENCES)
KL_DIVERGENCES = {name: d for name, d in DIVERGENCES.items() if name.startswith("forward_kl")}
every_kl = pytest.mark.parametrize("divergence", KL_DIVERGENCES.values(), ids=KL_DIVERGENCES)


@st.composite
def logits_pairs(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor]:
    positions, classes = draw(st.integers(1, 6)), draw(st.integers(2, 9))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    scale = draw(st.sampled_from([1e-3, 1.0, 30.0]))
    distance = draw(st.sampled_from([1e-6, 1.0]))
    student_PK, noise_PK = torch.randn(2, positions, classes, generator=generator) * scale
    return student_PK, student_PK + distance * noise_PK


def reference_kl(student: FloatArray, teacher: FloatArray, temperature: float) -> FloatArray:
    q, p = np.exp(student / temperature), np.exp(teacher / temperature)
    q, p = q / q.sum(axis=1, keepdims=True), p / p.sum(axis=1, keepdims=True)
    return np.asarray(np.sum(p * np.log(p / q), axis=1))


def seeded(*shape: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator) * 3


@every_divergence
@given(pair=logits_pairs())
@settings(deadline=None, max_examples=50)
def test_never_negative(divergence: Divergence, pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    assert (divergence(*pair) >= 0).all()


@every_divergence
@given(pair=logits_pairs())
@settings(deadline=None, max_examples=20)
def test_zero_where_the_models_agree(
    divergence: Divergence, pair: tuple[torch.Tensor, torch.Tensor]
) -> None:
    assert (divergence(pair[0], pair[0].clone()) == 0).all()


@every_divergence
@given(pair=logits_pairs(), seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=20)
def test_order_and_grouping_of_positions_change_no_value(
    divergence: Divergence, pair: tuple[torch.Tensor, torch.Tensor], seed: int
) -> None:
    student_PK, teacher_PK = pair
    order = torch.randperm(len(student_PK), generator=torch.Generator().manual_seed(seed))
    whole_P = divergence(student_PK, teacher_PK)
    one_by_one = [divergence(student_PK[i : i + 1], teacher_PK[i : i + 1]) for i in order]
    torch.testing.assert_close(torch.cat(one_by_one), whole_P[order], rtol=1e-5, atol=1e-7)


@every_divergence
def test_gradient_is_right(divergence: Divergence) -> None:
    student_PK, teacher_PK = seeded(5, 4, seed=0).requires_grad_(), seeded(5, 4, seed=1)
    assert torch.autograd.gradcheck(lambda student: divergence(student, teacher_PK), (student_PK,))


@every_divergence
def test_no_gradient_reaches_the_teacher(divergence: Divergence) -> None:
    student_PK, teacher_PK = seeded(2, 2, 3, seed=0).requires_grad_().unbind()
    student_PK.retain_grad()
    teacher_PK.retain_grad()
    divergence(student_PK, teacher_PK).sum().backward()
    assert student_PK.grad is not None
    assert student_PK.grad.abs().sum() > 0
    assert teacher_PK.grad is None


@every_divergence
def test_huge_bfloat16_logits_stay_finite(divergence: Divergence) -> None:
    student_PK = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4]], dtype=torch.bfloat16)
    teacher_PK = torch.tensor([[-1e4, 1e4, 0.0], [-1e4, 1e4, -1e4]], dtype=torch.bfloat16)
    values_P = divergence(student_PK.requires_grad_(), teacher_PK)
    values_P.sum().backward()
    assert student_PK.grad is not None
    assert values_P.dtype == torch.float32
    assert values_P.isfinite().all()
    assert (values_P > 0).all()
    assert student_PK.grad.isfinite().all()


@every_divergence
def test_no_positions_give_a_sum_that_backpropagates(divergence: Divergence) -> None:
    student_PK = torch.zeros(0, 3, requires_grad=True)
    values_P = divergence(student_PK, torch.zeros(0, 3))
    values_P.sum().backward()
    assert values_P.shape == (0,)
    assert student_PK.grad is not None


@every_divergence
def test_models_with_different_classes_are_refused(divergence: Divergence) -> None:
    with pytest.raises(ValueError, match=r"student logits \(2, 3\).*teacher logits \(2, 4\)"):
        divergence(torch.zeros(2, 3), torch.zeros(2, 4))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_kl_equals_the_float64_formula(temperature: float) -> None:
    student_PK, teacher_PK = seeded(6, 5, seed=0), seeded(6, 5, seed=1)
    expected = reference_kl(student_PK.numpy(), teacher_PK.numpy(), temperature)
    actual_P = kl_at(temperature, scaled=False)(student_PK, teacher_PK)
    np.testing.assert_allclose(actual_P.numpy(), expected, rtol=1e-10)
    in_float32_P = kl_at(temperature, scaled=False)(student_PK.float(), teacher_PK.float())
    np.testing.assert_allclose(in_float32_P.numpy(), expected, rtol=1e-4)


def test_kl_runs_from_teacher_to_student() -> None:
    student_PK, teacher_PK = seeded(6, 5, seed=0), seeded(6, 5, seed=1)
    swapped_P = kl_at(1.0)(teacher_PK, student_PK)
    reverse = reference_kl(teacher_PK.numpy(), student_PK.numpy(), 1.0)
    np.testing.assert_allclose(swapped_P.numpy(), reverse, rtol=1e-10)
    assert (swapped_P - kl_at(1.0)(student_PK, teacher_PK)).abs().min() > 1e-3


def test_temperature_squared_is_the_only_difference_of_its_switch() -> None:
    student_PK, teacher_PK = seeded(6, 5, seed=0), seeded(6, 5, seed=1)
    scaled_P = kl_at(3.0, scaled=True)(student_PK, teacher_PK)
    unscaled_P = kl_at(3.0, scaled=False)(student_PK, teacher_PK)
    torch.testing.assert_close(scaled_P, 9 * unscaled_P)


def test_temperature_squared_keeps_the_gradient_as_large_as_that_of_the_logit_error() -> None:
    student_PK, teacher_PK = seeded(6, 5, seed=0).requires_grad_(), seeded(6, 5, seed=1)
    (kl_gradient,) = torch.autograd.grad(kl_at(1e4)(student_PK, teacher_PK).sum(), student_PK)
    difference_PK = (student_PK - teacher_PK).detach()
    expected_PK = (difference_PK - difference_PK.mean(dim=1, keepdim=True)) / 5
    torch.testing.assert_close(kl_gradient, expected_PK, rtol=1e-2, atol=1e-3)


@every_kl
@given(pair=logits_pairs(), shift=st.sampled_from([-50.0, 3.0, 20.0]))
@settings(deadline=None, max_examples=20)
def test_kl_ignores_a_constant_added_to_the_logits(
    divergence: Divergence, pair: tuple[torch.Tensor, torch.Tensor], shift: float
) -> None:
    student_PK, teacher_PK = (logits.double() for logits in pair)
    torch.testing.assert_close(
        divergence(student_PK + shift, teacher_PK - shift),
        divergence(student_PK, teacher_PK),
        rtol=1e-6,
        atol=1e-10,
    )


def test_mse_sees_a_constant_added_to_the_logits() -> None:
    logits_PK = seeded(4, 3, seed=0)
    torch.testing.assert_close(
        logit_mse(logits_PK + 2, logits_PK), torch.full((4,), 4.0, dtype=torch.float64)
    )


def test_mse_is_the_mean_over_classes() -> None:
    student_PK, teacher_PK = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0.0, 2.0, 5.0]])
    assert logit_mse(student_PK, teacher_PK).tolist() == pytest.approx([5 / 3])


@every_kl
def test_a_class_ruled_out_by_both_models_changes_nothing(divergence: Divergence) -> None:
    student_PK, teacher_PK = seeded(4, 3, seed=0), seeded(4, 3, seed=1)
    ruled_out_P1 = torch.full((4, 1), -torch.inf, dtype=torch.float64)
    wide_PK = torch.cat([student_PK, ruled_out_P1], dim=1).requires_grad_()
    values_P = divergence(wide_PK, torch.cat([teacher_PK, ruled_out_P1], dim=1))
    torch.testing.assert_close(values_P, divergence(student_PK, teacher_PK))
    values_P.sum().backward()
    assert wide_PK.grad is not None
    assert wide_PK.grad.isfinite().all()
    assert (wide_PK.grad[:, 3] == 0).all()


@every_kl
def test_a_class_ruled_out_by_the_teacher_is_pushed_down(divergence: Divergence) -> None:
    student_PK = torch.zeros(1, 3, requires_grad=True)
    value_P = divergence(student_PK, torch.tensor([[0.0, 0.0, -torch.inf]]))
    value_P.sum().backward()
    assert student_PK.grad is not None
    assert 0 < value_P.item() < torch.inf
    assert student_PK.grad[0, 2] > 0
    assert student_PK.grad.isfinite().all()


@every_kl
def test_a_class_ruled_out_by_the_student_alone_is_infinitely_far(divergence: Divergence) -> None:
    student_PK = torch.tensor([[0.0, 0.0, -torch.inf]], requires_grad=True)
    value_P = divergence(student_PK, torch.zeros(1, 3))
    value_P.sum().backward()
    assert student_PK.grad is not None
    assert value_P.item() == torch.inf
    assert student_PK.grad.isfinite().all()


def test_gradient_stays_where_rounding_takes_the_sum_below_zero() -> None:
    generator = torch.Generator().manual_seed(0)
    student_PK = torch.randn(2000, 50, generator=generator)
    teacher_PK = student_PK + 1e-6 * torch.randn(2000, 50, generator=generator)
    log_q_PK, log_p_PK = student_PK.log_softmax(1), teacher_PK.log_softmax(1)
    is_rounded_below_P = (log_p_PK.exp() * (log_p_PK - log_q_PK)).sum(1) < 0
    assert is_rounded_below_P.any()
    values_P = kl_at(1.0)(student_PK.requires_grad_(), teacher_PK)
    (gradient_PK,) = torch.autograd.grad(values_P.sum(), student_PK)
    assert (values_P[is_rounded_below_P] == 0).all()
    torch.testing.assert_close(
        gradient_PK, log_q_PK.detach().exp() - log_p_PK.exp(), rtol=0, atol=1e-7
    )
    assert (gradient_PK[is_rounded_below_P].abs().amax(dim=1) > 0).all()
