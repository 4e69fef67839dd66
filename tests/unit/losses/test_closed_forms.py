"""Values and gradients in closed form are those that autograd finds, in float64."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.unit.losses import on_logits, reference

INF = float("inf")
DIVERGENCES: dict[str, dict[str, Any]] = {
    "forward_kl": {},
    "reverse_kl": {},
    "jensen_shannon": {"beta": 0.3},
    "skewed_kl": {"skew": 0.1},
    "total_variation": {},
    "taid": {"mix": 0.4},
}
RULED_OUT: dict[str, tuple[list[Any], list[Any]]] = {
    "nothing": ([], []),
    "by the teacher": ([], [(slice(None), 1), (1, 0)]),
    "by the student": ([(slice(None), 1), (2, 3)], []),
    "by each its own": ([(slice(None), 1), (2, 3)], [(slice(None), 1), (1, 0)]),
    "all that the other has": ([(slice(None), slice(3))], [(slice(None), slice(3, 6))]),
}


def logits_without(places: list[Any], *, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    logits_PK = 3 * torch.randn(6, 6, generator=generator, dtype=torch.float64)
    for place in places:
        logits_PK[place] = -INF
    return logits_PK


def value_and_gradient(
    loss: Callable[..., torch.Tensor],
    student_PK: torch.Tensor,
    target: torch.Tensor,
    **options: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the values, and the gradient of a sum that weighs every position differently."""
    student_PK = student_PK.clone().requires_grad_()
    values_P = loss(student_PK, target, **options)
    weights_P = torch.arange(1.0, 1 + len(values_P), dtype=values_P.dtype)
    (gradient_PK,) = torch.autograd.grad(values_P, student_PK, weights_P)
    return values_P.detach(), gradient_PK


@pytest.mark.parametrize("case", RULED_OUT)
@pytest.mark.parametrize("temperature", [0.7, 1.0, 2.5])
@pytest.mark.parametrize("name", DIVERGENCES)
def test_a_divergence_is_its_reference(name: str, temperature: float, case: str) -> None:
    of_student, of_teacher = RULED_OUT[case]
    pair = logits_without(of_student, seed=0), logits_without(of_teacher, seed=1)
    options = DIVERGENCES[name] | {
        "temperature": temperature,
        "scale_by_temperature_squared": True,
    }
    found, expected = (
        value_and_gradient(getattr(module, name), *pair, **options)
        for module in (on_logits, reference)
    )
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
@pytest.mark.parametrize("places", [[], [(2, 3), (0, 0)]], ids=["finite", "ruled out"])
def test_cross_entropy_is_its_reference(label_smoothing: float, places: list[Any]) -> None:
    labels_P = torch.arange(6) % 6
    found, expected = (
        value_and_gradient(
            module.cross_entropy,
            logits_without(places, seed=0),
            labels_P,
            label_smoothing=label_smoothing,
        )
        for module in (on_logits, reference)
    )
    assert found[0].isinf().any() == bool(places)
    assert found[1].isfinite().all()
    torch.testing.assert_close(found[0], expected[0], atol=1e-10, rtol=1e-10)
    # Autograd has NaN where a smoothed target meets a class that is ruled out.
    torch.testing.assert_close(
        found[1], expected[1].where(expected[1].isfinite(), found[1]), atol=1e-10, rtol=1e-10
    )


def test_squared_differences_are_their_references() -> None:
    student_PK, teacher_PK = (logits_without([], seed=seed) for seed in (0, 1))
    for name, pair in {
        "logit_mse": (student_PK, teacher_PK),
        "squared_error": (student_PK[:, :1], teacher_PK[:, 0]),
    }.items():
        found, expected = (
            value_and_gradient(getattr(module, name), *pair) for module in (on_logits, reference)
        )
        torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-10)
