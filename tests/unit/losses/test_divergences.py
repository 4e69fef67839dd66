"""Properties that every divergence must have, whatever distinguishes each."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

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


def softened(
    divergence: Callable[..., torch.Tensor],
    temperature: float = 1.0,
    *,
    scaled: bool = True,
) -> Divergence:
    return partial(divergence, temperature=temperature, scale_by_temperature_squared=scaled)


SOFTENED: dict[str, Divergence] = {
    "forward_kl": softened(forward_kl),
    "forward_kl_cold": softened(forward_kl, 0.5),
    "forward_kl_hot": softened(forward_kl, 4.0),
    "forward_kl_hot_unscaled": softened(forward_kl, 4.0, scaled=False),
    "reverse_kl": softened(reverse_kl),
    "reverse_kl_hot": softened(reverse_kl, 4.0),
    "jensen_shannon": softened(partial(jensen_shannon, beta=0.5)),
    "jensen_shannon_hot": softened(partial(jensen_shannon, beta=0.1), 4.0),
    "skewed_kl": softened(partial(skewed_kl, skew=0.1)),
    "skewed_kl_hot": softened(partial(skewed_kl, skew=0.7), 4.0),
    "skewed_kl_without_skew": softened(partial(skewed_kl, skew=0.0)),
    "total_variation": softened(total_variation),
    "total_variation_hot": softened(total_variation, 4.0),
    "taid": softened(partial(taid, mix=0.6)),
    "taid_hot": softened(partial(taid, mix=0.9), 4.0),
    "taid_at_its_end": softened(partial(taid, mix=1.0)),
}
DIVERGENCES = {**SOFTENED, "logit_mse": logit_mse}
OF_A_MOVING_TARGET = {"taid", "taid_hot"}
INFINITE_WHERE_THE_STUDENT_ALONE_RULES_OUT = {
    name for name in SOFTENED if name.startswith("forward_kl")
} | {"skewed_kl_without_skew", "taid_at_its_end"}
INFINITE_WHERE_THE_TEACHER_ALONE_RULES_OUT = {"reverse_kl", "reverse_kl_hot"}

every_divergence = pytest.mark.parametrize("divergence", DIVERGENCES.values(), ids=DIVERGENCES)
every_softened = pytest.mark.parametrize("divergence", SOFTENED.values(), ids=SOFTENED)
every_softened_name = pytest.mark.parametrize("name", SOFTENED)


@st.composite
def logits_pairs(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor]:
    positions, classes = draw(st.integers(1, 6)), draw(st.integers(2, 9))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    scale = draw(st.sampled_from([1e-3, 1.0, 30.0]))
    distance = draw(st.sampled_from([1e-6, 1.0]))
    student_PK, noise_PK = torch.randn(2, positions, classes, generator=generator) * scale
    return student_PK, student_PK + distance * noise_PK


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


@pytest.mark.parametrize("name", sorted(set(DIVERGENCES) - OF_A_MOVING_TARGET))
def test_gradient_is_right(name: str) -> None:
    divergence = DIVERGENCES[name]
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
    with pytest.raises(ValueError, match=r"student.s \(2, 3\) and the teacher.s \(2, 4\)"):
        divergence(torch.zeros(2, 3), torch.zeros(2, 4))


@every_softened
@given(pair=logits_pairs(), shift=st.sampled_from([-50.0, 3.0, 20.0]))
@settings(deadline=None, max_examples=20)
def test_a_constant_added_to_the_logits_changes_no_softened_value(
    divergence: Divergence, pair: tuple[torch.Tensor, torch.Tensor], shift: float
) -> None:
    student_PK, teacher_PK = (logits.double() for logits in pair)
    torch.testing.assert_close(
        divergence(student_PK + shift, teacher_PK - shift),
        divergence(student_PK, teacher_PK),
        rtol=1e-6,
        atol=1e-10,
    )


@every_divergence
def test_float64_is_kept(divergence: Divergence) -> None:
    assert divergence(seeded(2, 3, seed=0), seeded(2, 3, seed=1)).dtype == torch.float64
    assert divergence(seeded(2, 3, seed=0), seeded(2, 3, seed=1).float()).dtype == torch.float64


@every_softened
def test_a_class_ruled_out_by_both_models_changes_nothing(divergence: Divergence) -> None:
    student_PK, teacher_PK = seeded(4, 3, seed=0).requires_grad_(), seeded(4, 3, seed=1)
    ruled_out_P1 = torch.full((4, 1), -torch.inf, dtype=torch.float64)
    wide_PK = torch.cat([student_PK.detach(), ruled_out_P1], dim=1).requires_grad_()
    narrow_P = divergence(student_PK, teacher_PK)
    wide_P = divergence(wide_PK, torch.cat([teacher_PK, ruled_out_P1], dim=1))
    torch.testing.assert_close(wide_P, narrow_P)
    (narrow_gradient_PK,) = torch.autograd.grad(narrow_P.sum(), student_PK)
    (wide_gradient_PK,) = torch.autograd.grad(wide_P.sum(), wide_PK)
    torch.testing.assert_close(wide_gradient_PK[:, :3], narrow_gradient_PK)
    assert (wide_gradient_PK[:, 3] == 0).all()


@every_softened
def test_models_that_agree_on_what_is_ruled_out_are_at_zero(divergence: Divergence) -> None:
    logits_PK = torch.tensor([[0.3, -1.0, -torch.inf], [-torch.inf, 2.0, 0.1]])
    student_PK = logits_PK.clone().requires_grad_()
    values_P = divergence(student_PK, logits_PK)
    (gradient_PK,) = torch.autograd.grad(values_P.sum(), student_PK)
    assert (values_P == 0).all()
    torch.testing.assert_close(gradient_PK, torch.zeros(2, 3), rtol=0, atol=1e-6)


@every_softened_name
def test_a_class_ruled_out_by_the_teacher_alone_is_pushed_down(name: str) -> None:
    student_PK = torch.zeros(1, 3, requires_grad=True)
    value_P = SOFTENED[name](student_PK, torch.tensor([[0.0, 0.0, -torch.inf]]))
    (gradient_PK,) = torch.autograd.grad(value_P.sum(), student_PK)
    assert value_P.item() > 0
    assert value_P.isinf().item() == (name in INFINITE_WHERE_THE_TEACHER_ALONE_RULES_OUT)
    assert gradient_PK.isfinite().all()
    assert gradient_PK[0, 2] > 0
    assert gradient_PK[0, 0] == gradient_PK[0, 1] < 0


@every_softened_name
def test_a_class_ruled_out_by_the_student_alone_leaves_the_gradient_finite(name: str) -> None:
    student_PK = torch.tensor([[0.0, 1.0, -torch.inf]], requires_grad=True)
    value_P = SOFTENED[name](student_PK, torch.zeros(1, 3))
    (gradient_PK,) = torch.autograd.grad(value_P.sum(), student_PK)
    assert value_P.item() > 0
    assert value_P.isinf().item() == (name in INFINITE_WHERE_THE_STUDENT_ALONE_RULES_OUT)
    assert gradient_PK.isfinite().all()


@every_softened
def test_models_that_share_no_class_are_far_apart_with_a_finite_gradient(
    divergence: Divergence,
) -> None:
    student_PK = torch.tensor([[0.0, 0.0, -torch.inf, -torch.inf]], requires_grad=True)
    value_P = divergence(student_PK, torch.tensor([[-torch.inf, -torch.inf, 0.0, 0.0]]))
    (gradient_PK,) = torch.autograd.grad(value_P.sum(), student_PK)
    assert value_P.item() > 0.3
    assert gradient_PK.isfinite().all()
