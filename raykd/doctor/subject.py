"""What the checks are about: the pieces of the objective, where they run, what comes of them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from raykd.batch import Batch, Rows
from raykd.config.schema.losses import LossesConfig
from raykd.distill.step import DistillationStep
from raykd.losses.layer_terms import LayerTerm, build_layer_terms
from raykd.losses.terms import LossTerm, build_terms
from raykd.models.scored import ScoredModel
from raykd.tasks.task import Task
from raykd.teachers.live import LiveTeacher, Teacher


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """The pieces of the objective, each of which can be replaced by a wrong one."""

    collate: Callable[[Task, Rows], Batch]
    """How the rows of a task become a padded batch with scored positions."""

    build_terms: Callable[[LossesConfig], tuple[LossTerm, ...]]
    build_layer_terms: Callable[..., tuple[LayerTerm, ...]]
    """Takes what ``build_layer_terms`` takes."""

    make_teacher: Callable[[ScoredModel], Teacher]
    make_step: Callable[..., DistillationStep]
    """Takes what ``DistillationStep`` takes."""

    @staticmethod
    def real() -> "Subject":
        """Return the pieces that runs are made of."""
        return Subject(
            collate=lambda task, rows: task.collate(rows),
            build_terms=build_terms,
            build_layer_terms=build_layer_terms,
            make_teacher=LiveTeacher,
            make_step=DistillationStep,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """Where the checks run."""

    device: torch.device
    dtype: torch.dtype
    """float32, or bfloat16: the teacher's weights and the student's forward pass in it, as with
    train.precision=bfloat16; the student's weights stay float32."""

    @property
    def autocast_dtype(self) -> torch.dtype | None:
        """What the student's forward pass is cast to; None casts nothing."""
        return None if self.dtype == torch.float32 else self.dtype

    @property
    def forward_tolerance(self) -> float:
        """Return what two orders of the sums in a forward and backward pass may differ by.

        Relative to the largest value: matrix products of other shapes, as of a batch that is
        padded or cut differently, add up in another order. On a CPU the real objective shows
        1e-6 and 1e-2; a wrong one is off by tenths.
        """
        return 2e-5 if self.dtype == torch.float32 else 5e-2


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What comes of one check."""

    name: str
    claim: str
    """What holds where the check passes."""

    deviation: float
    """The worst one; what it is relative to is the check's own affair."""

    tolerance: float
    """The largest deviation that rounding explains."""

    @property
    def is_ok(self) -> bool:
        """Whether the check passes; NaN does not."""
        return self.deviation <= self.tolerance


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """A claim about the objective, and how it is tried."""

    name: str
    claim: str
    tolerance: float | None
    """None is that of a forward and backward pass."""

    deviations: Callable[[Subject, Setting], Iterator[float]]
    """Each a difference, or a number of mistakes, that would be 0 without rounding."""

    def __call__(self, subject: Subject, setting: Setting) -> Finding:
        """Return the worst deviation."""
        tolerance = setting.forward_tolerance if self.tolerance is None else self.tolerance
        return Finding(
            name=self.name,
            claim=self.claim,
            # ``deviation`` turns NaN into infinity: max() would pass over NaN.
            deviation=max(self.deviations(subject, setting)),
            tolerance=tolerance,
        )


def check(
    *, tolerance: float | None = None
) -> Callable[[Callable[[Subject, Setting], Iterator[float]]], Check]:
    """Make a check of a function that yields deviations: its docstring is the claim."""

    def make(deviations: Callable[[Subject, Setting], Iterator[float]]) -> Check:
        return Check(
            name=deviations.__name__.replace("_", " "),
            claim=(deviations.__doc__ or "").rstrip("."),
            tolerance=tolerance,
            deviations=deviations,
        )

    return make


def deviation(actual: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the largest difference of two tensors, relative to the largest expected value.

    It is infinite where the shapes differ or a value is NaN, and absolute where nothing but
    zeros is expected.
    """
    if actual.shape != expected.shape:
        return float("inf")
    if not actual.numel():
        return 0.0
    actual, expected = actual.detach().double().cpu(), expected.detach().double().cpu()
    worst = (actual - expected).abs().max() / (expected.abs().max() or 1.0)
    return float(worst.nan_to_num(nan=torch.inf))
