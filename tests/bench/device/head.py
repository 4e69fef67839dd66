"""The losses over a vocabulary alone: a student and a teacher that are nothing but their heads."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from raykd.batch import Batch, LayersWanted, ModelOutputs
from raykd.config.schema.losses import CrossEntropyConfig, ForwardKLConfig, LossesConfig
from raykd.distill.step import DistillationStep, StepCounts, StepOutput
from raykd.losses.terms import build_terms
from raykd.scores import ProjectedScores
from raykd.teachers.ensemble import TeacherEnsemble
from torch.nn import functional as F

if TYPE_CHECKING:
    from raykd.models.scored import ScoredModel

TEMPERATURE = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """What the losses read; ``on`` gives the student's two gradients of their own."""

    student_PD: torch.Tensor
    student_KD: torch.Tensor
    teacher_PD: torch.Tensor
    teacher_KD: torch.Tensor
    labels_P: torch.Tensor

    def on(
        self, device: torch.device, dtype: torch.dtype, teacher: torch.dtype | None = None
    ) -> "Problem":
        """Return the same on a device, its numbers in another type, without gradients so far.

        Args:
            device: For all of them.
            dtype: Of the student's numbers.
            teacher: Of the teacher's, where that is another one.
        """
        return Problem(
            student_PD=self.student_PD.detach().to(device, dtype).requires_grad_(),
            student_KD=self.student_KD.detach().to(device, dtype).requires_grad_(),
            teacher_PD=self.teacher_PD.to(device, teacher or dtype),
            teacher_KD=self.teacher_KD.to(device, teacher or dtype),
            labels_P=self.labels_P.to(device),
        )


def drawn(positions: int, words: int, width: int) -> Problem:
    """Return a problem on the CPU in float32, the same each time."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    return Problem(
        student_PD=normal(positions, width),
        student_KD=normal(words, width) / width**0.5,
        teacher_PD=normal(positions, width),
        teacher_KD=normal(words, width) / width**0.5,
        labels_P=torch.randint(words, (positions,), generator=generator),
    )


def whole(problem: Problem) -> torch.Tensor:
    """Return cross entropy + temperature squared x KL, a mean, of scores that are all there."""
    student_PK = F.linear(problem.student_PD, problem.student_KD)
    with torch.no_grad():
        teacher_PK = F.linear(problem.teacher_PD, problem.teacher_KD)
    dtype = torch.promote_types(student_PK.dtype, torch.float32)
    soft = F.kl_div(
        F.log_softmax(student_PK.to(dtype) / TEMPERATURE, dim=-1),
        F.softmax(teacher_PK.to(dtype) / TEMPERATURE, dim=-1),
        reduction="batchmean",
    )
    return F.cross_entropy(student_PK.to(dtype), problem.labels_P) + TEMPERATURE**2 * soft


class _Head(torch.nn.Module):
    """Says what a linear map makes of features, whatever it is asked about."""

    def __init__(
        self, features_PD: torch.Tensor, weight_KD: torch.Tensor, dtype: torch.dtype | None
    ) -> None:
        super().__init__()
        self._features_PD, self._weight_KD, self._dtype = features_PD, weight_KD, dtype

    def forward(self, batch: Batch, wanted: LayersWanted) -> ModelOutputs:
        del batch, wanted
        # Anew each time, as a model does: the map is converted once a step.
        scores = ProjectedScores(
            features_PD=self._features_PD, weight_KD=self._weight_KD, dtype=self._dtype
        )
        return ModelOutputs(hidden_PD=self._features_PD, scores=scores)


def in_chunks(problem: Problem, *, dtype: torch.dtype | None = None) -> Callable[[], torch.Tensor]:
    """Return what computes the same as raykd's step does, chunk by chunk.

    Args:
        problem: What it reads.
        dtype: Of the student's products, where it is not that of the numbers: autocast's.
    """
    losses = LossesConfig(
        cross_entropy=CrossEntropyConfig(),
        forward_kl=ForwardKLConfig(temperature=str(TEMPERATURE)),
    )
    one_by_one = torch.ones(1, 1)
    step = DistillationStep(
        cast("ScoredModel", _Head(problem.student_PD, problem.student_KD, dtype)),
        ensemble=TeacherEnsemble(
            {"teacher": _Head(problem.teacher_PD, problem.teacher_KD, None)},
            serves_NG=one_by_one.bool(),
            shares_NG=one_by_one,
        ),
        terms=build_terms(losses),
        autocast_dtype=None,
    )
    batch = _batch_of(problem.labels_P)
    positions = float(len(problem.labels_P))

    def loss() -> torch.Tensor:
        output: StepOutput = step(batch, 0.0, StepCounts(positions=positions, tokens=positions))
        return output.loss

    return loss


def _batch_of(labels_P: torch.Tensor) -> Batch:
    """Return rows of one token, each of them scored."""
    nothing_P = torch.zeros_like(labels_P)
    return Batch(
        input_ids_BL=nothing_P[:, None],
        attention_mask_BL=None,
        token_type_ids_BL=None,
        positions_P=torch.arange(len(labels_P), device=labels_P.device),
        labels_P=labels_P,
        languages_B=nothing_P,
        row_ids_B=nothing_P,
        epochs_B=nothing_P,
        num_tokens=len(labels_P),
    )
