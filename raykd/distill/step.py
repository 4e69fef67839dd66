"""One forward pass of teachers and student: where distillation happens.

Pure torch: no Ray, no files, no optimizer. Read this file first, then loop.py.
"""

import contextlib
import functools
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from raykd.batch import Batch, LayersWanted, ModelOutputs
from raykd.losses.layer_terms import LayerTerm
from raykd.losses.terms import LossTerm
from raykd.losses.weighted_sums import weighted_sums
from raykd.models.scored import ScoredModel
from raykd.teachers.ensemble import TeacherEnsemble, TeacherSignal
from raykd.teachers.on_positions import OnPositions, compiled_of_block
from raykd.teachers.overlapped import OverlappedEnsemble

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
    """What one micro-batch adds to the objective of the step."""

    loss: torch.Tensor
    """Weighted sum of the terms, to call backward on; a scalar."""

    terms: dict[str, torch.Tensor]
    """What it adds to each active term, unweighted and detached, for metrics; in their order."""


class DistillationStep(torch.nn.Module):
    """The objective of a run as one module, so that data parallelism can wrap it.

    The sums of a micro-batch are divided by the counts of the whole step over all workers, so
    that results do not depend on how examples fall into micro-batches.
    """

    def __init__(  # noqa: PLR0913  all parts of an objective
        self,
        student: ScoredModel,
        *,
        ensemble: TeacherEnsemble | None,
        overlapped: OverlappedEnsemble | None = None,
        terms: Sequence[LossTerm],
        layer_terms: Sequence[LayerTerm] = (),
        autocast_dtype: torch.dtype | None,
        compiled: bool = False,
    ) -> None:
        super().__init__()
        self.student = student
        self.ensemble = ensemble
        self.overlapped = overlapped
        self.terms: tuple[Term, ...] = (*terms, *layer_terms)
        self.projections = torch.nn.ModuleDict(
            {term.name: term.projections for term in layer_terms}
        )
        self.autocast_dtype = autocast_dtype
        self.of_block = compiled_of_block() if compiled else None

    def forward(self, batch: Batch, progress: float, counts: StepCounts) -> StepOutput:
        """Apply all models and the terms to a micro-batch.

        Args:
            batch: Examples with their scored positions.
            progress: 0 in the first step of the run, 1 in the last; weights may follow it.
            counts: Those of the whole step, over all workers.
        """
        active = self.active_terms(progress)
        on_layers = [term for term, _ in active if isinstance(term, LayerTerm)]
        wanted = _of_teachers(active)
        signals = () if wanted is None else self.signals(batch, wanted)
        of_student = functools.reduce(
            operator.or_, (term.of_student for term in on_layers), LayersWanted()
        )
        student = self._student_outputs(batch, of_student)

        # Zero, but part of the graph: a step whose weights are all zero still has a gradient,
        # and one whose layer terms rest has one for their projections.
        nothing = [parameter[:0].sum() for parameter in self.projections.parameters()]
        on_positions = [(term, weight) for term, weight in active if isinstance(term, LossTerm)]
        if on_positions:
            loss, sums_M = weighted_sums(
                student.scores,
                OnPositions(
                    terms=[term for term, _ in on_positions],
                    signals=signals,
                    labels_P=batch.labels_P,
                    progress=progress,
                    compiled=self.of_block,
                ).sums,
                [weight / counts.positions for _, weight in on_positions],
            )
            values = (sums_M / counts.positions).unbind()
            terms = {term.name: v for (term, _), v in zip(on_positions, values, strict=True)}
        else:
            loss, terms = student.scores.logits(slice(0)).float().sum(), {}
        for term, weight in active:
            if isinstance(term, LayerTerm):
                value = _over_tokens(term, student, signals, batch) / counts.tokens
                loss = loss + weight * value
                terms[term.name] = value.detach()
        return StepOutput(loss=sum(nothing, start=loss), terms=terms)

    def sharing_cores(self) -> contextlib.AbstractContextManager[None]:
        """Leave cores to teachers that run beside the student, while the block runs."""
        if self.overlapped is None:
            return contextlib.nullcontext()
        return self.overlapped.sharing_cores()

    def active_terms(self, progress: float) -> list[tuple[Term, float]]:
        """Return the terms that count at a progress, with their weights.

        A term of weight 0 is left out, and with the last one that needs them the teachers: a
        control costs no more than training alone.
        """
        weighted = [(term, term.weight.at(progress)) for term in self.terms]
        return [(term, weight) for term, weight in weighted if weight]

    def signals(
        self, batch: Batch, wanted: Mapping[str, LayersWanted] | None = None
    ) -> tuple[TeacherSignal, ...]:
        """Return what the teachers that are asked about a batch say, if there are any."""
        ask = self.overlapped or self.ensemble
        return () if ask is None else ask(batch, wanted or {})

    def served(self, batch: Batch) -> tuple[TeacherSignal, ...]:
        """Return what every teacher says about the rows of all languages that it serves."""
        ensemble = self.overlapped or self.ensemble
        return () if ensemble is None else ensemble.served(batch)

    def ask_ahead(self, batch: Batch, progress: float) -> None:
        """Have teachers that run beside the student begin with a batch that ``forward`` gets."""
        wanted = _of_teachers(self.active_terms(progress))
        if self.overlapped is not None and wanted is not None:
            self.overlapped.ask(batch, wanted)

    def student_outputs(self, batch: Batch) -> ModelOutputs:
        """Return what the student says outside a step, in the run's precision."""
        return self._student_outputs(batch, LayersWanted())

    def _student_outputs(self, batch: Batch, wanted: LayersWanted) -> ModelOutputs:
        # The student alone: teachers have a dtype of their own, and losses widen to float32.
        with torch.autocast(
            batch.input_ids_BL.device.type,
            dtype=self.autocast_dtype,
            enabled=self.autocast_dtype is not None,
        ):
            outputs: ModelOutputs = self.student(batch, wanted)
        return outputs


def _of_teachers(active: Sequence[tuple[Term, float]]) -> dict[str, LayersWanted] | None:
    """Return the layers that are wanted of teachers; None where no term needs a teacher."""
    wanted: dict[str, LayersWanted] = {}
    for term, _ in active:
        if isinstance(term, LayerTerm):
            wanted[term.teacher] = wanted.get(term.teacher, LayersWanted()) | term.of_teacher
    needs_teacher = any(isinstance(term, LayerTerm) or term.needs_teacher for term, _ in active)
    return wanted if needs_teacher else None


def _over_tokens(
    term: LayerTerm, student: ModelOutputs, signals: Sequence[TeacherSignal], batch: Batch
) -> torch.Tensor:
    """Return a term's sum over the tokens."""
    teacher = next(signal for signal in signals if signal.name == term.teacher)
    return term.per_token(student, teacher.outputs, batch).sum()
