"""Whether each divergence is its formula, on logits of a thousand classes."""

from collections.abc import Iterator

import torch

from raykd.config.schema.losses import CrossEntropyConfig, LossesConfig, SquaredErrorConfig
from raykd.doctor.formulas import FORMULAS
from raykd.doctor.subject import Setting, Subject, check, deviation

_POSITIONS = 24
_CLASSES = 1_000
_EXTREME = 1e4
_HIGH = 1_000.0
"""A temperature at which the limit holds to a few parts in a thousand."""

_TOLERANCE = 2e-5
"""Sums over a thousand classes in float32, whatever the precision of the logits. Log
probabilities or logits that are rounded to bfloat16 are off by a thousand times as much."""


@check(tolerance=_TOLERANCE)
def formulas(subject: Subject, setting: Setting) -> Iterator[float]:
    """Each position has the value and the gradient of its formula: direction, sum, scale."""
    student_PK, teacher_PK = _logits(setting, torch.float32)
    for name, formula in FORMULAS.items():
        for temperature in (1.0, 3.0):
            inputs_PK = [student_PK.clone().requires_grad_(), student_PK.double().requires_grad_()]
            values_P = _values(subject, name, inputs_PK[0], teacher_PK, temperature)
            expected_P = formula.values(inputs_PK[1], teacher_PK.double(), temperature)
            values_P.sum().backward()
            expected_P.sum().backward()
            gradients = [_gradient(logits_PK) for logits_PK in inputs_PK]
            yield deviation(values_P, expected_P)
            yield deviation(*gradients)


@check(tolerance=_TOLERANCE)
def precision(subject: Subject, setting: Setting) -> Iterator[float]:
    """Bfloat16 logits are widened before the softmax: the values are exact for them."""
    student_PK, teacher_PK = _logits(setting, torch.bfloat16)
    labels_P = torch.arange(_POSITIONS, device=setting.device)
    (term,) = subject.build_terms(LossesConfig(cross_entropy=CrossEntropyConfig()))
    yield deviation(
        term.per_position(student_PK, labels_P, **term.settings_at(0.0)),
        -student_PK.double().softmax(dim=-1).log()[labels_P, labels_P],
    )
    (term,) = subject.build_terms(LossesConfig(squared_error=SquaredErrorConfig()))
    numbers_P1, true_P = student_PK[:, :1], teacher_PK[:, 0].float()
    yield deviation(
        term.per_position(numbers_P1, true_P, **term.settings_at(0.0)),
        (numbers_P1.double().squeeze(-1) - true_P.double()).square(),
    )
    for name, formula in FORMULAS.items():
        values_P = _values(subject, name, student_PK, teacher_PK, 2.0)
        expected_P = formula.values(student_PK.double(), teacher_PK.double(), 2.0)
        yield deviation(values_P, expected_P)


@check(tolerance=2e-2)
def temperature(subject: Subject, setting: Setting) -> Iterator[float]:
    """A higher temperature softens, but does not shrink the gradient (t squared)."""
    student_PK, teacher_PK = _logits(setting, torch.float32)
    difference_PK = student_PK - teacher_PK
    limit_PK = (difference_PK - difference_PK.mean(dim=-1, keepdim=True)) / _CLASSES
    for name, formula in FORMULAS.items():
        if formula.limit is None:
            continue
        student_PK.requires_grad_().grad = None
        _values(subject, name, student_PK, teacher_PK, _HIGH).sum().backward()
        yield deviation(_gradient(student_PK), formula.limit * limit_PK)


@check(tolerance=1e-6)
def zero(subject: Subject, setting: Setting) -> Iterator[float]:
    """A student that says what its teacher says has neither loss nor gradient."""
    for name in FORMULAS:
        student_PK, _ = _logits(setting, setting.dtype)
        student_PK.requires_grad_()
        values_P = _values(subject, name, student_PK, student_PK.detach().clone(), 2.0)
        values_P.sum().backward()
        both = torch.cat([values_P, _gradient(student_PK).flatten()])
        yield deviation(both, torch.zeros_like(both))


@check(tolerance=0.0)
def non_negative(subject: Subject, setting: Setting) -> Iterator[float]:
    """No divergence is below zero, not even by rounding where the models nearly agree."""
    student_PK, far_PK = _logits(setting, setting.dtype)
    for teacher_PK in (far_PK, student_PK + far_PK / 1_000, student_PK + far_PK / 1_000_000):
        for name in FORMULAS:
            values_P = _values(subject, name, student_PK, teacher_PK, 1.0)
            yield max(0.0, -float(values_P.min()))


@check(tolerance=_TOLERANCE)
def shift(subject: Subject, setting: Setting) -> Iterator[float]:
    """A constant added to all logits of a position changes nothing."""
    # Multiples of 1/8 up to 4, and 8 more, have at most 7 bits: bfloat16 adds them exactly.
    student_PK, teacher_PK = (
        ((8 * logits_PK).round() / 8).clamp(-4, 4) for logits_PK in _logits(setting, setting.dtype)
    )
    for name, formula in FORMULAS.items():
        if formula.is_of_probabilities:
            expected_P = _values(subject, name, student_PK, teacher_PK, 2.0)
            values_P = _values(subject, name, student_PK + 8, teacher_PK - 8, 2.0)
            yield deviation(values_P, expected_P)


@check(tolerance=0)
def extremes(subject: Subject, setting: Setting) -> Iterator[float]:
    """Logits of +-10,000 give finite values and gradients."""
    student_PK, teacher_PK = (
        logits_PK.sign() * _EXTREME for logits_PK in _logits(setting, setting.dtype)
    )
    for name in FORMULAS:
        for temperature_ in (0.5, 4.0):
            student_PK.requires_grad_().grad = None
            values_P = _values(subject, name, student_PK, teacher_PK, temperature_)
            values_P.sum().backward()
            for tensor in (values_P, _gradient(student_PK)):
                yield int((~tensor.isfinite()).sum())


def _values(
    subject: Subject,
    name: str,
    student_PK: torch.Tensor,
    teacher_PK: torch.Tensor,
    temperature_: float,
) -> torch.Tensor:
    """Return what the term of a run computes at each position."""
    (term,) = subject.build_terms(FORMULAS[name].losses(f"{temperature_:g}"))
    return term.per_position(student_PK, teacher_PK, **term.settings_at(0.0))


def _gradient(logits_PK: torch.Tensor) -> torch.Tensor:
    assert logits_PK.grad is not None  # noqa: S101  every divergence depends on the student
    return logits_PK.grad


def _logits(setting: Setting, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits of a student and a teacher that differ."""
    # Drawn on the CPU in float32: alike on every device, but for the rounding to ``dtype``.
    generator = torch.Generator().manual_seed(0)
    logits_2PK = 2 * torch.randn(2, _POSITIONS, _CLASSES, generator=generator)
    student_PK, teacher_PK = logits_2PK.to(setting.device, dtype)
    return student_PK, teacher_PK
