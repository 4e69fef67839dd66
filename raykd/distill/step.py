"""One forward pass of teachers and student: where distillation happens.

Pure torch: no Ray, no files, no optimizer. Read this file first, then loop.py.
"""

import functools
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from raykd.batch import Batch, LayersWanted, ModelOutputs
from raykd.losses.divergences import widened
from raykd.losses.layer_terms import LayerTerm
from raykd.losses.terms import LossTerm
from raykd.models.scored import ScoredModel
from raykd.scores import ALL, Sums, weighted_sums
from raykd.teachers.cache.sparse import SparseScores, sparse_forward_kl
from raykd.teachers.ensemble import TeacherEnsemble, TeacherSignal

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

    def __init__(
        self,
        student: ScoredModel,
        *,
        ensemble: TeacherEnsemble | None,
        terms: Sequence[LossTerm],
        layer_terms: Sequence[LayerTerm] = (),
        autocast_dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        self.student = student
        self.ensemble = ensemble
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
            counts: Those of the whole step, over all workers.
        """
        active = self.active_terms(progress)
        on_layers = [term for term, _ in active if isinstance(term, LayerTerm)]
        needs_teacher = any(isinstance(t, LayerTerm) or t.needs_teacher for t, _ in active)
        signals = self.signals(batch, _of_teachers(on_layers)) if needs_teacher else ()
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
                _sums([term for term, _ in on_positions], signals, batch, progress),
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
        return () if self.ensemble is None else self.ensemble(batch, wanted or {})

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


def _of_teachers(terms: Sequence[LayerTerm]) -> dict[str, LayersWanted]:
    wanted: dict[str, LayersWanted] = {}
    for term in terms:
        wanted[term.teacher] = wanted.get(term.teacher, LayersWanted()) | term.of_teacher
    return wanted


def _sums(
    terms: Sequence[LossTerm], signals: Sequence[TeacherSignal], batch: Batch, progress: float
) -> Sums:
    """Return how neighbouring positions add to each term, over the teachers by their weights."""

    def sums(logits_CK: torch.Tensor, chosen: slice) -> torch.Tensor:
        labels_C = batch.labels_P[chosen]
        targets = [_ChunkTargets.of(signal, chosen, batch) for signal in signals]
        return torch.stack(
            [_over_positions(term, logits_CK, targets, labels_C, progress) for term in terms]
        )

    return sums


@dataclass(frozen=True, kw_only=True, slots=True)
class _ChunkTargets:
    """What one teacher says about those of C neighbouring positions that it is asked about."""

    asked: slice | torch.Tensor
    """Which of the C they are."""

    scores: torch.Tensor | SparseScores
    """Logits [Q, K]; of a cache that keeps some classes only, what it has."""

    weights_Q: torch.Tensor | None

    @staticmethod
    def of(signal: TeacherSignal, chosen: slice, batch: Batch) -> "_ChunkTargets":
        positions_Q, weights_Q = signal.positions_Q, signal.weights_Q
        asked: slice | torch.Tensor = ALL
        if positions_Q is not None:
            start, stop, _ = chosen.indices(len(batch.positions_P))
            # They rise: what is asked about among neighbours are neighbours.
            bounds = torch.searchsorted(positions_Q, positions_Q.new_tensor([start, stop]))
            chosen = slice(*bounds.tolist())
            asked = positions_Q[chosen] - start
        scores = signal.outputs.scores
        return _ChunkTargets(
            asked=asked,
            scores=scores.at(chosen)
            if isinstance(scores, SparseScores)
            else scores.logits(chosen),
            weights_Q=None if weights_Q is None else weights_Q[chosen],
        )


def _over_positions(
    term: LossTerm,
    logits_CK: torch.Tensor,
    targets: Sequence[_ChunkTargets],
    labels_C: torch.Tensor,
    progress: float,
) -> torch.Tensor:
    """Return a term's sum over C positions."""
    settings = term.settings_at(progress)
    if not term.needs_teacher:
        return term.per_position(logits_CK, labels_C, **settings).sum()
    # Zero, but part of the graph, where no teacher is asked.
    total = widened(logits_CK[:0]).sum()
    for each in targets:
        logits_QK = logits_CK[each.asked]
        if isinstance(each.scores, SparseScores):
            # Forward KL at temperature 1 is the only term that a run with such a cache may have.
            values_Q = sparse_forward_kl(logits_QK, each.scores)
        else:
            values_Q = term.per_position(logits_QK, each.scores, **settings)
        if each.weights_Q is not None:
            values_Q = values_Q * each.weights_Q
        total = total + values_Q.sum()
    return total


def _over_tokens(
    term: LayerTerm, student: ModelOutputs, signals: Sequence[TeacherSignal], batch: Batch
) -> torch.Tensor:
    """Return a term's sum over the tokens."""
    teacher = next(signal for signal in signals if signal.name == term.teacher)
    return term.per_token(student, teacher.outputs, batch).sum()
