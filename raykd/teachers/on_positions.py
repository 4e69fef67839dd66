"""The terms on scored positions, against labels and teachers, block by block.

The dimension key is that of raykd.batch; C is some of the P positions and R a block of those, Q
is what of them a teacher is asked about, K is classes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from raykd.batch import to_device
from raykd.losses.derivative import Loss, Weight, gradient
from raykd.losses.softened import Logits
from raykd.losses.terms import LossTerm
from raykd.losses.weighted_sums import blocks
from raykd.scores import DenseScores, Scores
from raykd.teachers.cache.sparse import SparseScores, sparse_forward_kl
from raykd.teachers.ensemble import TeacherSignal

_MOST_VARIANTS = 32
"""Of the compiled terms at most; beyond, torch warns and runs them uncompiled."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OnPositions:
    """The active terms on the positions of a batch, and what they compare them with."""

    terms: Sequence[LossTerm]
    signals: Sequence[TeacherSignal]
    labels_P: torch.Tensor
    progress: float
    compiled: "OfBlock | None" = None
    """``of_block`` as torch.compile makes it, where it is to be used."""

    def sums(
        self, logits_CK: torch.Tensor, *, chosen: slice, weights: Sequence[float], masked: bool
    ) -> torch.Tensor:
        """Return how neighbouring positions add to each term, over the teachers by their weights.

        The gradient takes the place of the logits.
        """
        targets = [_Target.of(signal).at(chosen) for signal in self.signals]
        labels_C = self.labels_P[chosen]
        of_rows, parts, factors = of_block, blocks(logits_CK), list[Weight](weights)
        if self.compiled is not None and all(target.is_dense for target in targets):
            # One kernel has no need of the cache. torch.compile would take floats that it cannot
            # move into the kernel for constants, and make code at each step.
            of_rows, parts = self.compiled, iter([slice(len(logits_CK))])
            factors = list(torch.tensor(weights, dtype=torch.float64).unbind())
        terms = [
            (term, term.settings_at(self.progress), factor)
            for term, factor in zip(self.terms, factors, strict=True)
        ]
        # Where no teacher is asked there is no value.
        dtype = torch.promote_types(logits_CK.dtype, torch.float32)
        nothing = torch.zeros(1, dtype=dtype, device=logits_CK.device)
        values = [[nothing] for _ in terms]
        for rows in parts:
            at_rows = [target.at(rows) for target in targets]
            found = of_rows(logits_CK[rows], labels_C[rows], at_rows, terms, masked=masked)
            for of_term, more in zip(values, found, strict=True):
                of_term.extend(more)
        return torch.stack([torch.cat(of_term).sum() for of_term in values])


def of_block(
    logits_RK: torch.Tensor,
    labels_R: torch.Tensor,
    targets: Sequence["_Target"],
    terms: Sequence[tuple[LossTerm, Mapping[str, Any], Weight]],
    *,
    masked: bool,
) -> list[list[torch.Tensor]]:
    """Return the values of each term against each target, and put the gradient over the logits.

    Args:
        logits_RK: The student's; then the derivative of the weighted sums in them.
        labels_R: The right classes.
        targets: What the teachers say.
        terms: With the settings and the weight of each.
        masked: Some logits may be -inf.
    """
    student = Logits(logits_RK, masked=masked)
    labels = _Compared(student=student, target=labels_R)
    teachers = [_Compared.of(student, target) for target in targets]
    losses: dict[Logits, list[tuple[Loss, Weight]]] = {student: []}
    values: list[list[torch.Tensor]] = []
    for term, settings, factor in terms:
        values.append([])
        for each in teachers if term.needs_teacher else (labels,):
            loss = each.loss(term, settings)
            values_Q, weight = each.weighted(loss.values_P, factor)
            values[-1].append(values_Q)
            losses.setdefault(each.student, []).append((loss, weight))
    gradient_RK = gradient(losses.pop(student), student)
    for each in teachers:
        if each.positions_Q is not None and each.student in losses:
            of_some_QK = gradient(losses[each.student], each.student)
            gradient_RK.index_add_(0, each.positions_Q, of_some_QK)
    logits_RK.copy_(gradient_RK)
    return values


OfBlock = Callable[..., list[list[torch.Tensor]]]
"""``of_block`` or what torch.compile makes of it."""


def compiled_of_block() -> OfBlock:
    """Return ``of_block`` compiled once for all sizes, temperatures and weights, on first use.

    What else changes is compiled apart: which terms are active, and whether logits are masked.
    """
    compiled: OfBlock = torch.compile(  # type: ignore[call-overload]  # it does not know the limits
        of_block, dynamic=True, recompile_limit=_MOST_VARIANTS, isolate_recompiles=True
    )
    return compiled


@dataclass(frozen=True, kw_only=True, slots=True)
class _Target:
    """What one teacher says about those of some neighbouring positions that it is asked about."""

    scores: Scores | SparseScores
    """Of Q positions."""

    positions_Q: torch.Tensor | None
    """Which of the neighbours they are, rising, on the CPU; None is all."""

    weights_Q: torch.Tensor | None
    """How much it counts at each; None is 1."""

    @staticmethod
    def of(signal: TeacherSignal) -> "_Target":
        return _Target(
            scores=signal.outputs.scores,
            positions_Q=signal.positions_Q,
            weights_Q=signal.weights_Q,
        )

    @property
    def is_dense(self) -> bool:
        """Whether it has all logits of all positions."""
        return self.positions_Q is None and not isinstance(self.scores, SparseScores)

    def at(self, chosen: slice) -> "_Target":
        """Return what it says about some of the neighbours, with logits that are there."""
        inside, positions_Q = chosen, self.positions_Q
        if positions_Q is not None:
            # What is asked about among neighbours are neighbours.
            ends = positions_Q.new_tensor([chosen.start, chosen.stop])
            inside = slice(*torch.searchsorted(positions_Q, ends).tolist())
            positions_Q = positions_Q[inside] - chosen.start
        scores = self.scores
        return _Target(
            scores=scores.at(inside)
            if isinstance(scores, SparseScores)
            else DenseScores(logits_PK=scores.logits(inside)),
            positions_Q=positions_Q,
            weights_Q=None if self.weights_Q is None else self.weights_Q[inside],
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Compared:
    """The student at some positions of a block, and what it is compared with there."""

    student: Logits
    target: Logits | SparseScores | torch.Tensor
    positions_Q: torch.Tensor | None = None
    weights_Q: torch.Tensor | None = None

    @staticmethod
    def of(student: Logits, target: _Target) -> "_Compared":
        positions_Q = target.positions_Q
        if positions_Q is not None:
            positions_Q = to_device(positions_Q, student.logits_PK.device)
            student = Logits(student.logits_PK[positions_Q], masked=student.masked)
        scores, weights_Q = target.scores, target.weights_Q
        return _Compared(
            student=student,
            target=scores if isinstance(scores, SparseScores) else student.like(scores.logits()),
            positions_Q=positions_Q,
            weights_Q=None if weights_Q is None else weights_Q.to(student.dtype),
        )

    def loss(self, term: LossTerm, settings: Mapping[str, Any]) -> Loss:
        """Return a term's unweighted values, and their derivative."""
        if isinstance(self.target, SparseScores):
            # Forward KL at temperature 1 is the only term that a run with such a cache may have.
            return sparse_forward_kl(self.student, self.target)
        return term.loss(self.student, self.target, **settings)

    def weighted(self, values_Q: torch.Tensor, weight: Weight) -> tuple[torch.Tensor, Weight]:
        """Return the values by how much each position counts, and the weight of each."""
        if self.weights_Q is None:
            return values_Q, weight
        return values_Q * self.weights_Q, weight * self.weights_Q.unsqueeze(-1)
