"""One forward pass of teachers and student: where distillation happens.

Pure torch: no Ray, no files, no optimizer. Read this file first, then loop.py.
"""

import functools
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from raykd.batch import Batch, LayersWanted, ModelOutputs
from raykd.losses.layer_terms import LayerTerm
from raykd.losses.terms import LossTerm
from raykd.models.scored import ScoredModel
from raykd.teachers.panel import Opinion, Panel

Term = LossTerm | LayerTerm


@dataclass(frozen=True, kw_only=True, slots=True)
class StepCounts:
    """What the sums of a whole optimizer step, over all workers, are divided by."""

    positions: float
    """Scored positions, for terms on logits."""

    tokens: float
    """Tokens, padding not counted, for terms on layers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepOutput:
    """The share of one micro-batch in the objective of the step."""

    loss: torch.Tensor
    """Weighted sum of the terms, to call backward on; a scalar."""

    terms: tuple[torch.Tensor, ...]
    """Unweighted, detached share of each active term, for metrics."""


class DistillationStep(torch.nn.Module):
    """The objective of a run as one module, so that data parallelism can wrap it.

    The sums of a micro-batch are divided by the counts of the whole step over all workers, so
    that results do not depend on how examples fall into micro-batches.
    """

    def __init__(
        self,
        student: ScoredModel,
        *,
        panel: Panel | None,
        terms: Sequence[LossTerm],
        layer_terms: Sequence[LayerTerm] = (),
        autocast_dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        self.student = student
        self.panel = panel
        self.terms: tuple[Term, ...] = (*terms, *layer_terms)
        self.projections = torch.nn.ModuleDict(
            {term.name: term.projections for term in layer_terms}
        )
        self.autocast_dtype = autocast_dtype

    def forward(self, batch: Batch, progress: float, counts: StepCounts) -> StepOutput:
        """Apply all models and the terms to a micro-batch.

        Args:
            batch: Examples with their scored positions.
            progress: 0 in the first step of the run, 1 in the last; weights may follow it.
            counts: Of the whole step.
        """
        active = self.active_terms(progress)
        on_layers = [term for term, _ in active if isinstance(term, LayerTerm)]
        needs_teacher = any(isinstance(t, LayerTerm) or t.needs_teacher for t, _ in active)
        opinions = self.opinions(batch, _of_teachers(on_layers)) if needs_teacher else ()
        of_student = functools.reduce(
            operator.or_, (term.of_student for term in on_layers), LayersWanted()
        )
        student = self.student_outputs(batch, of_student)

        # Zero, but part of the graph: a step whose weights are all zero still has a gradient,
        # and one whose layer terms rest has one for their projections.
        loss = student.logits_PK[:0].float().sum()
        loss = loss + sum(parameter[:0].sum() for parameter in self.projections.parameters())
        terms = []
        for term, weight in active:
            if isinstance(term, LossTerm):
                value = (
                    _over_positions(term, student, opinions, batch, progress) / counts.positions
                )
            else:
                value = _over_tokens(term, student, opinions, batch) / counts.tokens
            loss = loss + weight * value
            terms.append(value.detach())
        return StepOutput(loss=loss, terms=tuple(terms))

    def active_terms(self, progress: float) -> list[tuple[Term, float]]:
        """Return the terms that count at a progress, with their weights.

        A term of weight 0 is left out, and with the last one that needs them the teachers: a
        control costs no more than training alone.
        """
        weighted = [(term, term.weight.at(progress)) for term in self.terms]
        return [(term, weight) for term, weight in weighted if weight]

    def opinions(
        self, batch: Batch, wanted: Mapping[str, LayersWanted] | None = None
    ) -> tuple[Opinion, ...]:
        """Return what the teachers that are asked about a batch say, if there are any."""
        return () if self.panel is None else self.panel(batch, wanted or {})

    def student_outputs(
        self,
        batch: Batch,
        wanted: LayersWanted = LayersWanted(),  # noqa: B008  frozen
    ) -> ModelOutputs:
        """Return what the student says, in the run's precision."""
        with torch.autocast(
            batch.input_ids_BL.device.type,
            dtype=self.autocast_dtype,
            enabled=self.autocast_dtype is not None,
        ):
            outputs: ModelOutputs = self.student(batch, wanted)
        return outputs


def _of_teachers(terms: Sequence[LayerTerm]) -> dict[str, LayersWanted]:
    wanted: dict[str, LayersWanted] = {}
    for term in terms:
        wanted[term.teacher] = wanted.get(term.teacher, LayersWanted()) | term.of_teacher
    return wanted


def _over_positions(
    term: LossTerm,
    student: ModelOutputs,
    opinions: Sequence[Opinion],
    batch: Batch,
    progress: float,
) -> torch.Tensor:
    """Return a term's sum over the scored positions, and over the teachers by their weights."""
    if not term.needs_teacher:
        return term.per_position(student.logits_PK, None, batch.labels_P, progress).sum()
    total = student.logits_PK[:0].float().sum()
    for opinion in opinions:
        asked = slice(None) if opinion.positions_Q is None else opinion.positions_Q
        values_Q = term.per_position(
            student.logits_PK[asked], opinion.outputs.logits_PK, batch.labels_P[asked], progress
        )
        if opinion.weights_Q is not None:
            values_Q = values_Q * opinion.weights_Q
        total = total + values_Q.sum()
    return total


def _over_tokens(
    term: LayerTerm, student: ModelOutputs, opinions: Sequence[Opinion], batch: Batch
) -> torch.Tensor:
    """Return a term's sum over the tokens."""
    teacher = next(opinion for opinion in opinions if opinion.name == term.teacher)
    return term.per_token(student, teacher.outputs, batch).sum()
