"""Whether each divergence is its formula, on logits of a thousand classes."""

import torch

from raykd.config.schema.losses import CrossEntropyConfig, LossesConfig
from raykd.doctor.formulas import FORMULAS
from raykd.doctor.subject import Finding, Setting, Subject, deviation

_POSITIONS = 24
_CLASSES = 1_000
_EXTREME = 1e4
_HIGH = 1_000.0
"""A temperature at which the limit holds to a few parts in a thousand."""

_TOLERANCE = 2e-5
"""Sums over a thousand classes in float32, whatever the precision of the logits. Log
probabilities or logits that are rounded to bfloat16 are off by a thousand times as much."""


def formulas(subject: Subject, setting: Setting) -> Finding:
    """Compare every divergence, and its gradient, with its formula in float64."""
    worst = 0.0
    student_PK, teacher_PK = _logits(setting, torch.float32)
    for name, formula in FORMULAS.items():
        for temperature in (1.0, 3.0):
            inputs_PK = [student_PK.clone().requires_grad_(), student_PK.double().requires_grad_()]
            found_P = _values(subject, name, inputs_PK[0], teacher_PK, temperature)
            expected_P = formula.values(inputs_PK[1], teacher_PK.double(), temperature)
            found_P.sum().backward()
            expected_P.sum().backward()
            gradients = [_gradient(logits_PK) for logits_PK in inputs_PK]
            worst = max(worst, deviation(found_P, expected_P), deviation(*gradients))
    return Finding(
        name="formulas",
        says="each position has the value and the gradient of its formula: direction, sum, scale",
        deviation=worst,
        tolerance=_TOLERANCE,
    )


def precision(subject: Subject, setting: Setting) -> Finding:
    """Compare the values of bfloat16 logits with those in float64 of the same logits."""
    student_PK, teacher_PK = _logits(setting, torch.bfloat16)
    labels_P = torch.arange(_POSITIONS, device=setting.device)
    (term,) = subject.build_terms(LossesConfig(cross_entropy=CrossEntropyConfig()))
    worst = deviation(
        term.per_position(student_PK, None, labels_P, 0.0),
        -student_PK.double().softmax(dim=-1).log()[labels_P, labels_P],
    )
    for name, formula in FORMULAS.items():
        found_P = _values(subject, name, student_PK, teacher_PK, 2.0)
        expected_P = formula.values(student_PK.double(), teacher_PK.double(), 2.0)
        worst = max(worst, deviation(found_P, expected_P))
    return Finding(
        name="precision",
        says="bfloat16 logits are widened before the softmax: the values are exact for them",
        deviation=worst,
        tolerance=_TOLERANCE,
    )


def temperature(subject: Subject, setting: Setting) -> Finding:
    """Compare the gradient at a high temperature with its limit."""
    student_PK, teacher_PK = _logits(setting, torch.float32)
    difference_PK = student_PK - teacher_PK
    limit_PK = (difference_PK - difference_PK.mean(dim=-1, keepdim=True)) / _CLASSES
    worst = 0.0
    for name, formula in FORMULAS.items():
        if formula.limit is None:
            continue
        student_PK.requires_grad_().grad = None
        _values(subject, name, student_PK, teacher_PK, _HIGH).sum().backward()
        worst = max(worst, deviation(_gradient(student_PK), formula.limit * limit_PK))
    return Finding(
        name="temperature",
        says="a higher temperature softens, but does not shrink the gradient (t squared)",
        deviation=worst,
        tolerance=2e-2,
    )


def zero(subject: Subject, setting: Setting) -> Finding:
    """Look for a value or a gradient where student and teacher say the same."""
    worst = 0.0
    for name in FORMULAS:
        student_PK, _ = _logits(setting, setting.dtype)
        student_PK.requires_grad_()
        values_P = _values(subject, name, student_PK, student_PK.detach().clone(), 2.0)
        values_P.sum().backward()
        found = torch.cat([values_P, _gradient(student_PK).flatten()])
        worst = max(worst, deviation(found, torch.zeros_like(found)))
    return Finding(
        name="zero",
        says="a student that says what its teacher says has neither loss nor gradient",
        deviation=worst,
        tolerance=1e-6,
    )


def non_negative(subject: Subject, setting: Setting) -> Finding:
    """Look for negative values, which rounding gives where two models nearly agree."""
    worst = 0.0
    student_PK, far_PK = _logits(setting, setting.dtype)
    for teacher_PK in (far_PK, student_PK + far_PK / 1_000, student_PK + far_PK / 1_000_000):
        for name in FORMULAS:
            values_P = _values(subject, name, student_PK, teacher_PK, 1.0)
            worst = max(worst, -float(values_P.min()))
    return Finding(
        name="non-negative",
        says="no divergence is below zero, not even by rounding where the models nearly agree",
        deviation=worst,
        tolerance=0.0,
    )


def shift(subject: Subject, setting: Setting) -> Finding:
    """Add a constant to all logits of a position, without rounding them."""
    worst = 0.0
    student_PK, teacher_PK = (
        ((8 * logits_PK).round() / 8).clamp(-4, 4) for logits_PK in _logits(setting, setting.dtype)
    )
    for name, formula in FORMULAS.items():
        if formula.is_of_probabilities:
            expected_P = _values(subject, name, student_PK, teacher_PK, 2.0)
            found_P = _values(subject, name, student_PK + 8, teacher_PK - 8, 2.0)
            worst = max(worst, deviation(found_P, expected_P))
    return Finding(
        name="shift",
        says="a constant added to all logits of a position changes nothing",
        deviation=worst,
        tolerance=_TOLERANCE,
    )


def extremes(subject: Subject, setting: Setting) -> Finding:
    """Count what is not finite for logits of +-10,000, where the models agree and where not."""
    student_PK, teacher_PK = (
        logits_PK.sign() * _EXTREME for logits_PK in _logits(setting, setting.dtype)
    )
    count = 0
    for name in FORMULAS:
        for temperature_ in (0.5, 4.0):
            student_PK.requires_grad_().grad = None
            values_P = _values(subject, name, student_PK, teacher_PK, temperature_)
            values_P.sum().backward()
            for found in (values_P, _gradient(student_PK)):
                count += int((~found.isfinite()).sum())
    return Finding(
        name="extremes",
        says="logits of +-10,000 give finite values and gradients",
        deviation=count,
        tolerance=0,
    )


def _values(
    subject: Subject,
    name: str,
    student_PK: torch.Tensor,
    teacher_PK: torch.Tensor,
    temperature_: float,
) -> torch.Tensor:
    """Return what the term of a run computes at each position."""
    (term,) = subject.build_terms(FORMULAS[name].losses(f"{temperature_:g}"))
    labels_P = torch.zeros(len(student_PK), dtype=torch.int64, device=student_PK.device)
    return term.per_position(student_PK, teacher_PK, labels_P, 0.0)


def _gradient(logits_PK: torch.Tensor) -> torch.Tensor:
    assert logits_PK.grad is not None  # noqa: S101  every divergence depends on the student
    return logits_PK.grad


def _logits(setting: Setting, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits of a student and a teacher that differ."""
    generator = torch.Generator().manual_seed(0)
    logits_2PK = 2 * torch.randn(2, _POSITIONS, _CLASSES, generator=generator)
    student_PK, teacher_PK = logits_2PK.to(setting.device, dtype)
    return student_PK, teacher_PK
