"""What distinguishes each divergence: its formula, its limits, its sensitivity."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
import pytest
import torch

from tests.unit.losses.on_logits import (
    forward_kl,
    jensen_shannon,
    logit_mse,
    reverse_kl,
    skewed_kl,
    taid,
    total_variation,
)

Divergence = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
FloatArray = npt.NDArray[np.float64]


def at(
    temperature: float,
    divergence: Callable[..., torch.Tensor],
    *,
    scaled: bool = False,
) -> Divergence:
    return partial(divergence, temperature=temperature, scale_by_temperature_squared=scaled)


def softmax(logits: FloatArray, temperature: float) -> FloatArray:
    exponentials = np.exp(logits / temperature)
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def kl(p: FloatArray, q: FloatArray) -> FloatArray:
    return np.asarray(np.sum(p * np.log(p / q), axis=1))


def seeded(*shape: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator) * 3


STUDENT_PK, TEACHER_PK = seeded(6, 5, seed=0), seeded(6, 5, seed=1)


def expected(name: str, temperature: float) -> FloatArray:
    """Return what each divergence is by its formula in float64."""
    z_s, z_t = STUDENT_PK.numpy(), TEACHER_PK.numpy()
    q, p = softmax(z_s, temperature), softmax(z_t, temperature)
    mixture = 0.3 * p + 0.7 * q
    values = {
        "forward_kl": kl(p, q),
        "reverse_kl": kl(q, p),
        "jensen_shannon": 0.3 * kl(p, mixture) + 0.7 * kl(q, mixture),
        "skewed_kl": kl(p, 0.1 * p + 0.9 * q),
        "total_variation": np.abs(p - q).sum(axis=1) / 2,
        "taid": kl(softmax(0.75 * z_s + 0.25 * z_t, temperature), q),
    }
    return np.asarray(values[name])


DIVERGENCES: dict[str, Callable[..., torch.Tensor]] = {
    "forward_kl": forward_kl,
    "reverse_kl": reverse_kl,
    "jensen_shannon": partial(jensen_shannon, beta=0.3),
    "skewed_kl": partial(skewed_kl, skew=0.1),
    "total_variation": total_variation,
    "taid": partial(taid, mix=0.25),
}
every_name = pytest.mark.parametrize("name", DIVERGENCES)


@every_name
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_equals_the_float64_formula(name: str, temperature: float) -> None:
    divergence = at(temperature, DIVERGENCES[name])
    in_float64_P = divergence(STUDENT_PK, TEACHER_PK)
    np.testing.assert_allclose(in_float64_P.numpy(), expected(name, temperature), rtol=1e-10)
    in_float32_P = divergence(STUDENT_PK.float(), TEACHER_PK.float())
    np.testing.assert_allclose(in_float32_P.numpy(), expected(name, temperature), rtol=1e-4)


def test_no_two_divergences_are_the_same() -> None:
    values_NP = torch.stack([at(1.0, d)(STUDENT_PK, TEACHER_PK) for d in DIVERGENCES.values()])
    distances = (values_NP[:, None] - values_NP).abs().amax(dim=2)
    assert distances[~torch.eye(len(DIVERGENCES), dtype=torch.bool)].min() > 1e-3


@every_name
def test_temperature_squared_is_the_only_difference_of_its_switch(name: str) -> None:
    scaled_P = at(3.0, DIVERGENCES[name], scaled=True)(STUDENT_PK, TEACHER_PK)
    unscaled_P = at(3.0, DIVERGENCES[name])(STUDENT_PK, TEACHER_PK)
    torch.testing.assert_close(scaled_P, 9 * unscaled_P)


@pytest.mark.parametrize(
    ("name", "factor"),
    [
        ("forward_kl", 1.0),
        ("reverse_kl", 1.0),
        ("jensen_shannon", 0.3 * 0.7),
        ("skewed_kl", 0.9**2),
        ("taid", 0.25),
    ],
)
def test_temperature_squared_keeps_the_gradient_as_large_as_that_of_the_logit_error(
    name: str, factor: float
) -> None:
    gradient_PK = gradient_of(at(1e4, DIVERGENCES[name], scaled=True))
    difference_PK = STUDENT_PK - TEACHER_PK
    expected_PK = factor * (difference_PK - difference_PK.mean(dim=1, keepdim=True)) / 5
    torch.testing.assert_close(gradient_PK, expected_PK, rtol=1e-2, atol=1e-3)


def test_temperature_squared_lets_the_gradient_of_total_variation_grow() -> None:
    at_1e4_PK = gradient_of(at(1e4, total_variation, scaled=True))
    at_2e4_PK = gradient_of(at(2e4, total_variation, scaled=True))
    assert at_1e4_PK.abs().min() > 0
    torch.testing.assert_close(at_2e4_PK, 2 * at_1e4_PK, rtol=1e-2, atol=1e-2)


def gradient_of(divergence: Divergence) -> torch.Tensor:
    student_PK = STUDENT_PK.clone().requires_grad_()
    (gradient_PK,) = torch.autograd.grad(divergence(student_PK, TEACHER_PK).sum(), student_PK)
    return gradient_PK


@pytest.mark.parametrize(
    "divergence", [at(1.0, forward_kl), at(1.0, reverse_kl)], ids=["forward", "reverse"]
)
def test_gradient_stays_where_rounding_takes_the_sum_below_zero(divergence: Divergence) -> None:
    generator = torch.Generator().manual_seed(0)
    student_PK = torch.randn(2000, 50, generator=generator)
    teacher_PK = student_PK + 1e-6 * torch.randn(2000, 50, generator=generator)
    values_P = divergence(student_PK.requires_grad_(), teacher_PK)
    is_lifted_P = values_P == 0
    assert is_lifted_P.sum() > 100
    (gradient_PK,) = torch.autograd.grad(values_P.sum(), student_PK)
    expected_PK = student_PK.detach().softmax(1) - teacher_PK.softmax(1)
    torch.testing.assert_close(gradient_PK, expected_PK, rtol=0, atol=2e-7)
    assert (gradient_PK[is_lifted_P].abs().amax(dim=1) > 0).all()


def test_reverse_is_forward_with_the_models_exchanged() -> None:
    torch.testing.assert_close(
        at(2.0, reverse_kl)(STUDENT_PK, TEACHER_PK),
        at(2.0, forward_kl)(TEACHER_PK, STUDENT_PK),
        rtol=0,
        atol=0,
    )


def test_jensen_shannon_is_symmetric_at_one_half_only() -> None:
    def asymmetry(beta: float) -> float:
        divergence = at(1.0, partial(jensen_shannon, beta=beta))
        there_P, back_P = divergence(STUDENT_PK, TEACHER_PK), divergence(TEACHER_PK, STUDENT_PK)
        return (there_P - back_P).abs().max().item()

    assert asymmetry(0.5) < 1e-12
    assert asymmetry(0.2) > 1e-2


def test_jensen_shannon_tends_to_both_kls_at_its_ends() -> None:
    near_0_P = at(1.0, partial(jensen_shannon, beta=1e-7))(STUDENT_PK, TEACHER_PK) / 1e-7
    near_1_P = at(1.0, partial(jensen_shannon, beta=1 - 1e-7))(STUDENT_PK, TEACHER_PK) / 1e-7
    np.testing.assert_allclose(near_0_P.numpy(), expected("forward_kl", 1.0), rtol=1e-3)
    np.testing.assert_allclose(near_1_P.numpy(), expected("reverse_kl", 1.0), rtol=1e-3)


def test_what_shares_no_class_is_at_the_bound_of_each_bounded_divergence() -> None:
    student_PK = torch.tensor([[0.0, -torch.inf]], dtype=torch.float64)
    teacher_PK = torch.tensor([[-torch.inf, 0.0]], dtype=torch.float64)
    entropy = -(0.3 * math.log(0.3) + 0.7 * math.log(0.7))
    bounds = {"jensen_shannon": entropy, "skewed_kl": -math.log(0.1), "total_variation": 1.0}
    for name, bound in bounds.items():
        value_P = at(1.0, DIVERGENCES[name])(student_PK, teacher_PK)
        assert value_P.item() == pytest.approx(bound, rel=1e-12)


def test_without_skew_it_is_forward_kl() -> None:
    torch.testing.assert_close(
        at(2.0, partial(skewed_kl, skew=0.0))(STUDENT_PK, TEACHER_PK),
        at(2.0, forward_kl)(STUDENT_PK, TEACHER_PK),
        rtol=0,
        atol=0,
    )


@pytest.mark.parametrize(
    "divergence",
    [at(1.0, partial(skewed_kl, skew=1.0)), at(1.0, partial(jensen_shannon, beta=1.5))],
)
def test_a_share_outside_its_range_is_refused(divergence: Divergence) -> None:
    with pytest.raises(ValueError, match=r"must be in \[0, 1\), got 1\."):
        divergence(STUDENT_PK, TEACHER_PK)


@pytest.mark.parametrize("mix", [0.25, 0.5, 0.9])
def test_the_target_between_the_models_is_held_constant(mix: float) -> None:
    gradient_PK = gradient_of(at(2.0, partial(taid, mix=mix)))
    target_PK = ((1 - mix) * STUDENT_PK + mix * TEACHER_PK) / 2
    expected_PK = ((STUDENT_PK / 2).softmax(1) - target_PK.softmax(1)) / 2
    torch.testing.assert_close(gradient_PK, expected_PK, rtol=1e-10, atol=1e-12)


def test_the_target_moves_from_student_to_teacher() -> None:
    student_PK, teacher_PK = STUDENT_PK.clone(), TEACHER_PK.clone()
    teacher_PK[:, 4] = -torch.inf
    assert (at(1.0, partial(taid, mix=0.0))(student_PK, teacher_PK) == 0).all()
    torch.testing.assert_close(
        at(1.0, partial(taid, mix=1.0))(student_PK, teacher_PK),
        at(1.0, forward_kl)(student_PK, teacher_PK),
        rtol=0,
        atol=0,
    )
    values_MP = torch.stack(
        [
            at(1.0, partial(taid, mix=mix))(STUDENT_PK, TEACHER_PK)
            for mix in (0.0, 0.2, 0.5, 0.8, 1.0)
        ]
    )
    assert (values_MP.diff(dim=0) > 0).all()


def test_mse_sees_a_constant_added_to_the_logits() -> None:
    logits_PK = seeded(4, 3, seed=0)
    torch.testing.assert_close(
        logit_mse(logits_PK + 2, logits_PK), torch.full((4,), 4.0, dtype=torch.float64)
    )


def test_mse_is_the_mean_over_classes() -> None:
    student_PK, teacher_PK = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0.0, 2.0, 5.0]])
    assert logit_mse(student_PK, teacher_PK).tolist() == pytest.approx([5 / 3])
