"""One forward pass of teacher and student: where distillation happens.

Pure torch: no Ray, no files, no optimizer. Read this file first, then loop.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from raykd.batch import Batch, ModelOutputs
from raykd.losses.terms import LossTerm
from raykd.models.scored import ScoredModel
from raykd.teachers.signal import Teacher


@dataclass(frozen=True, kw_only=True, slots=True)
class StepOutput:
    """The objective of one micro-batch, summed over its scored positions."""

    loss_sum: torch.Tensor
    """Weighted sum of the terms, to call backward on; a scalar."""

    term_sums: tuple[torch.Tensor, ...]
    """Unweighted, detached sum of each active term, for metrics."""


class DistillationStep(torch.nn.Module):
    """The objective of a run as one module, so that data parallelism can wrap it.

    Sums, not means: the loop divides by the number of scored positions in the whole step over
    all workers, so that results do not depend on how examples fall into micro-batches.
    """

    def __init__(
        self,
        student: ScoredModel,
        *,
        teacher: Teacher | None,
        terms: Sequence[LossTerm],
        autocast_dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        self.student = student
        self.teacher = teacher
        self.terms = tuple(terms)
        self.autocast_dtype = autocast_dtype

    def forward(self, batch: Batch, progress: float) -> StepOutput:
        """Apply both models and the terms to a micro-batch.

        Args:
            batch: Examples with their scored positions.
            progress: 0 in the first step of the run, 1 in the last; weights may follow it.
        """
        active = self.active_terms(progress)
        needs_teacher = any(term.needs_teacher for term, _ in active)
        teacher_logits_PK = self.teacher_logits(batch) if needs_teacher else None
        student_logits_PK = self.student_logits(batch)

        # Zero, but part of the graph: a step whose weights are all zero still has a gradient.
        loss_sum = student_logits_PK[:0].float().sum()
        term_sums = []
        for term, weight in active:
            term_sum = term.per_position(
                student_logits_PK, teacher_logits_PK, batch.labels_P, progress
            ).sum()
            loss_sum = loss_sum + weight * term_sum
            term_sums.append(term_sum.detach())
        return StepOutput(loss_sum=loss_sum, term_sums=tuple(term_sums))

    def active_terms(self, progress: float) -> list[tuple[LossTerm, float]]:
        """Return the terms that count at a progress, with their weights.

        A term of weight 0 is left out, and with the last one that needs it the teacher: a
        control costs no more than training alone.
        """
        weighted = [(term, term.weight.at(progress)) for term in self.terms]
        return [(term, weight) for term, weight in weighted if weight]

    def teacher_logits(self, batch: Batch) -> torch.Tensor | None:
        """Return the teacher's scores at the scored positions, [P, K], if there is a teacher."""
        return None if self.teacher is None else self.teacher(batch).logits_PK

    def student_logits(self, batch: Batch) -> torch.Tensor:
        """Return the student's scores at the scored positions, [P, K], in the run's precision."""
        with torch.autocast(
            batch.input_ids_BL.device.type,
            dtype=self.autocast_dtype,
            enabled=self.autocast_dtype is not None,
        ):
            outputs: ModelOutputs = self.student(batch)
        return outputs.logits_PK
