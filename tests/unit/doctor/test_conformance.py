"""The checks pass for the real objective, and each well-known mistake fails the right ones.

A mutant is the real objective with one small thing wrong that has been wrong elsewhere.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from raykd.batch import Batch, LayersWanted, ModelOutputs, Rows
from raykd.config.schema.losses import LABEL_TERMS, LossesConfig
from raykd.distill.step import DistillationStep, StepCounts, StepOutput
from raykd.doctor.formulas import FORMULAS
from raykd.doctor.subject import Finding, Setting, Subject, deviation
from raykd.doctor.suite import CHECKS, findings
from raykd.losses.comparisons import ModelShape
from raykd.losses.derivative import Loss
from raykd.losses.layer_terms import LayerTerm, build_layer_terms
from raykd.losses.softened import Logits, widened
from raykd.losses.terms import LossTerm, build_terms
from raykd.models.scored import ScoredModel
from raykd.tasks.task import Task
from raykd.teachers.live import LiveTeacher, Teacher
from torch.nn import functional as F

pytestmark = pytest.mark.slow

REAL = Subject.real()
CPU = torch.device("cpu")
DTYPES = (torch.float32, torch.bfloat16)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_real_objective_passes_every_check(dtype: torch.dtype) -> None:
    found = list(findings(REAL, Setting(device=CPU, dtype=dtype)))
    assert [finding.name for finding in found if not finding.is_ok] == []
    assert len({finding.name for finding in found}) == len(CHECKS)


def test_every_term_on_logits_has_a_formula() -> None:
    names = {field.name for field in fields(LossesConfig)}
    layers = {"hidden_states", "attention_scores", "attention_relations"}
    assert set(FORMULAS) == names - layers - set(LABEL_TERMS)


def test_a_check_finds_the_same_twice() -> None:
    setting = Setting(device=CPU, dtype=torch.float32)
    for check in CHECKS:
        if check.name in ("formulas", "layer formulas", "teacher mode"):
            assert check(REAL, setting) == check(REAL, setting)


def test_nan_is_no_pass() -> None:
    values = torch.tensor([1.0, float("nan")])
    assert deviation(values, torch.ones(2)) == float("inf")
    assert not Finding(name="x", claim="", deviation=float("nan"), tolerance=1.0).is_ok
    assert deviation(torch.ones(2), torch.ones(3)) == float("inf")


@dataclass(frozen=True, kw_only=True)
class Mutant:
    subject: Subject
    fails: tuple[str, ...]
    """Checks that must fail, by name of the finding."""


def collating(change: Callable[[Batch, Rows], Batch], *, task: str) -> Subject:
    """Return a subject whose batches of one task are changed."""

    def collate(of: Task, rows: Rows) -> Batch:
        batch = of.collate(rows)
        return change(batch, rows) if of.name == task and len(rows) else batch

    return replace(REAL, collate=collate)


def unshifted(batch: Batch, _: Rows) -> Batch:
    """Ask each position for its own token instead of the next."""
    return replace(batch, labels_P=batch.input_ids_BL.flatten()[batch.positions_P])


def shifted_twice(batch: Batch, rows: Rows) -> Batch:
    """Ask for the token after the next: the labels come shifted, and are shifted again."""
    starts_B = np.cumsum(rows.lengths_B) - rows.lengths_B
    batch_row_P = (batch.positions_P // batch.input_ids_BL.shape[1]).numpy()
    place_P = (batch.positions_P % batch.input_ids_BL.shape[1]).numpy()
    last_P = rows.lengths_B[batch_row_P] - 1
    after_P = starts_B[batch_row_P] + np.minimum(place_P + 2, last_P)
    return replace(batch, labels_P=torch.from_numpy(rows.token_ids_T[after_P]))


def scoring_padding(batch: Batch, _: Rows) -> Batch:
    """Score every place that has a next one, padding or not."""
    length = batch.input_ids_BL.shape[1]
    positions_P = torch.arange(batch.input_ids_BL.numel())
    positions_P = positions_P[positions_P % length < length - 1]
    return replace(
        batch,
        positions_P=positions_P,
        labels_P=batch.input_ids_BL.flatten()[positions_P + 1],
    )


def scoring_everything(batch: Batch, _: Rows) -> Batch:
    """Score the tokens that are shown, too, and not only the hidden ones."""
    positions_P = batch.is_token_BL.flatten().nonzero().squeeze(-1)
    labels_BL = batch.input_ids_BL.flatten().clone()
    labels_BL[batch.positions_P] = batch.labels_P
    return replace(batch, positions_P=positions_P, labels_P=labels_BL[positions_P])


def attending_to_padding(batch: Batch, _: Rows) -> Batch:
    return replace(batch, attention_mask_BL=None)


Divergence = Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]


def with_forward_kl(divergence: Divergence) -> Subject:
    """Return a subject with this in place of the forward KL of the softened logits."""

    def build(config: LossesConfig) -> tuple[LossTerm, ...]:
        return tuple(
            replace(term, loss=_closed(divergence)) if term.name == "forward_kl" else term
            for term in build_terms(config)
        )

    return replace(REAL, build_terms=build)


def _closed(divergence: Divergence) -> Callable[..., Loss]:
    """Return a divergence with the derivative that autograd finds."""

    def loss(student: Logits, teacher: Logits, *, temperature: float, **_: bool) -> Loss:
        with torch.enable_grad():
            student_PK = student.logits_PK.detach().requires_grad_()
            values_P = divergence(student_PK, teacher.logits_PK.detach(), temperature)
            (gradient_PK,) = torch.autograd.grad(values_P.sum(), student_PK)
        return Loss(values_P=values_P.detach(), pull_PK=-gradient_PK.to(student.dtype))

    return loss


def kl_div(student_PK: torch.Tensor, teacher_PK: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return what torch makes of forward KL: the terms of each class, scaled."""
    return (
        F.kl_div(
            F.log_softmax(widened(student_PK) / temperature, dim=-1),
            F.log_softmax(widened(teacher_PK.detach()) / temperature, dim=-1),
            reduction="none",
            log_target=True,
        )
        * temperature**2
    )


def right(student_PK: torch.Tensor, teacher_PK: torch.Tensor, temperature: float) -> torch.Tensor:
    return kl_div(student_PK, teacher_PK, temperature).sum(dim=-1).clamp(min=0)


def mean_over_classes(
    student_PK: torch.Tensor, teacher_PK: torch.Tensor, temperature: float
) -> torch.Tensor:
    return kl_div(student_PK, teacher_PK, temperature).mean(dim=-1)


def unscaled(
    student_PK: torch.Tensor, teacher_PK: torch.Tensor, temperature: float
) -> torch.Tensor:
    return right(student_PK, teacher_PK, temperature) / temperature**2


def scaled_twice(
    student_PK: torch.Tensor, teacher_PK: torch.Tensor, temperature: float
) -> torch.Tensor:
    return right(student_PK, teacher_PK, temperature) * temperature**2


def one_temperature(
    student_PK: torch.Tensor, teacher_PK: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Soften the teacher only."""
    return right(student_PK * temperature, teacher_PK, temperature)


def swapped(
    student_PK: torch.Tensor, teacher_PK: torch.Tensor, temperature: float
) -> torch.Tensor:
    log_q_PK = F.log_softmax(widened(student_PK) / temperature, dim=-1)
    log_p_PK = F.log_softmax(widened(teacher_PK.detach()) / temperature, dim=-1)
    return (log_q_PK.exp() * (log_q_PK - log_p_PK)).sum(dim=-1) * temperature**2


def without_entropy(
    student_PK: torch.Tensor, teacher_PK: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Return the cross entropy of the soft targets, which is not zero where the models agree."""
    log_q_PK = F.log_softmax(widened(student_PK) / temperature, dim=-1)
    p_PK = F.softmax(widened(teacher_PK.detach()) / temperature, dim=-1)
    return -(p_PK * log_q_PK).sum(dim=-1) * temperature**2


def rounded_logits(
    student_PK: torch.Tensor, teacher_PK: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Round the logits to bfloat16 before they are widened."""
    return right(student_PK.bfloat16(), teacher_PK.bfloat16(), temperature)


def narrow_softmax(
    student_PK: torch.Tensor, teacher_PK: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Take the softmax in the precision that the logits come in, then widen."""
    log_q_PK = F.log_softmax(student_PK / temperature, dim=-1).float()
    log_p_PK = F.log_softmax(teacher_PK.detach() / temperature, dim=-1).float()
    return (log_p_PK.exp() * (log_p_PK - log_q_PK)).sum(dim=-1) * temperature**2


def unstable(
    student_PK: torch.Tensor, teacher_PK: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Take the logarithm of probabilities, some of which are zero."""
    q_PK = F.softmax(widened(student_PK) / temperature, dim=-1)
    p_PK = F.softmax(widened(teacher_PK.detach()) / temperature, dim=-1)
    return (p_PK * (p_PK.log() - q_PK.log())).sum(dim=-1) * temperature**2


def training_teacher(model: ScoredModel) -> Teacher:
    """Freeze a teacher, but leave its dropout on."""
    model.requires_grad_(requires_grad=False).train()

    def teacher(batch: Batch, wanted: LayersWanted) -> ModelOutputs:
        with torch.no_grad():
            outputs: ModelOutputs = model(batch, wanted)
        return outputs

    return teacher


def learning_teacher(model: ScoredModel) -> Teacher:
    """Put a teacher in evaluation mode, but compute a gradient for it."""
    model.eval()

    def teacher(batch: Batch, wanted: LayersWanted) -> ModelOutputs:
        outputs: ModelOutputs = model(batch, wanted)
        return outputs

    return teacher


class StepWithTeacher(DistillationStep):
    """Holds the teacher as a module: the optimizer and the checkpoints find it."""

    def __init__(self, student: ScoredModel, **options: object) -> None:
        super().__init__(student, **options)  # type: ignore[arg-type]
        if self.ensemble is not None:
            (teacher,) = self.ensemble.teachers.values()
            assert isinstance(teacher, LiveTeacher)
            self.teacher = teacher.model


class MeanOfMeans(DistillationStep):
    """Divides each micro-batch by its own counts."""

    def forward(self, batch: Batch, progress: float, _: StepCounts) -> StepOutput:
        own = StepCounts(positions=max(len(batch.positions_P), 1), tokens=max(batch.num_tokens, 1))
        return super().forward(batch, progress, own)


class Unscheduled(DistillationStep):
    """Keeps the weights and temperatures of the first step."""

    def forward(self, batch: Batch, _: float, counts: StepCounts) -> StepOutput:
        return super().forward(batch, 0.0, counts)


def into_teacher(config: LossesConfig, **shapes: Any) -> tuple[LayerTerm, ...]:
    """Let the teacher's hidden states have a gradient."""

    def learning(term: LayerTerm) -> LayerTerm:
        return replace(
            term,
            per_token=lambda mine, theirs, batch: (
                term.per_token(mine, theirs, batch) * theirs.hidden_states_TD[1].square().mean()
            ),
        )

    terms = build_layer_terms(config, **shapes)
    return tuple(learning(term) if term.name == "hidden_states" else term for term in terms)


def padded_layers(
    config: LossesConfig,
    *,
    student: ModelShape,
    teachers: Mapping[str, ModelShape],
    followed: Mapping[str, tuple[int, ...]],
) -> tuple[LayerTerm, ...]:
    """Compare attention at padding as if it were tokens."""

    def unmasked(term: LayerTerm) -> LayerTerm:
        return replace(
            term,
            per_token=lambda mine, theirs, batch: term.per_token(
                mine, theirs, replace(batch, attention_mask_BL=None)
            ),
        )

    terms = build_layer_terms(config, student=student, teachers=teachers, followed=followed)
    return tuple(unmasked(term) if term.of_student.attention else term for term in terms)


MUTANTS = {
    "unshifted labels": Mutant(
        subject=collating(unshifted, task="causal_lm"), fails=("labels", "cross entropy")
    ),
    "labels shifted twice": Mutant(
        subject=collating(shifted_twice, task="causal_lm"), fails=("labels", "cross entropy")
    ),
    "padding is scored": Mutant(
        subject=collating(scoring_padding, task="causal_lm"),
        fails=("labels", "cross entropy", "padding"),
    ),
    "shown tokens are scored": Mutant(
        subject=collating(scoring_everything, task="masked_lm"), fails=("labels",)
    ),
    "no attention mask": Mutant(
        subject=collating(attending_to_padding, task="token_classification"),
        fails=("cross entropy", "padding"),
    ),
    "padding in terms on layers": Mutant(
        subject=replace(REAL, build_layer_terms=padded_layers), fails=("padding", "layer formulas")
    ),
    "mean over the vocabulary": Mutant(
        subject=with_forward_kl(mean_over_classes), fails=("formulas", "temperature", "schedules")
    ),
    "temperature without its square": Mutant(
        subject=with_forward_kl(unscaled), fails=("formulas", "temperature", "schedules")
    ),
    "temperature to the fourth": Mutant(
        subject=with_forward_kl(scaled_twice), fails=("formulas", "temperature", "schedules")
    ),
    "only the teacher is softened": Mutant(
        subject=with_forward_kl(one_temperature), fails=("formulas", "zero", "schedules")
    ),
    "KL the other way round": Mutant(
        subject=with_forward_kl(swapped), fails=("formulas", "schedules")
    ),
    "cross entropy of soft targets": Mutant(
        subject=with_forward_kl(without_entropy), fails=("formulas", "zero", "schedules")
    ),
    "logits rounded to bfloat16": Mutant(
        subject=with_forward_kl(rounded_logits), fails=("formulas",)
    ),
    "softmax in bfloat16": Mutant(subject=with_forward_kl(narrow_softmax), fails=("precision",)),
    "logarithm of probabilities": Mutant(subject=with_forward_kl(unstable), fails=("extremes",)),
    "gradient into the teacher's layers": Mutant(
        subject=replace(REAL, build_layer_terms=into_teacher), fails=("detached",)
    ),
    "teacher in training mode": Mutant(
        subject=replace(REAL, make_teacher=training_teacher), fails=("teacher mode",)
    ),
    "gradient for the teacher": Mutant(
        subject=replace(REAL, make_teacher=learning_teacher), fails=("teacher gradient",)
    ),
    "teacher among the objective's modules": Mutant(
        subject=replace(REAL, make_step=StepWithTeacher),
        fails=("teacher mode", "teacher gradient"),
    ),
    "mean of means": Mutant(
        subject=replace(REAL, make_step=MeanOfMeans), fails=("micro batches", "schedules")
    ),
    "schedules are ignored": Mutant(
        subject=replace(REAL, make_step=Unscheduled), fails=("schedules",)
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_fails_its_checks(name: str) -> None:
    mutant = MUTANTS[name]
    setting = Setting(device=CPU, dtype=torch.float32)
    checks = {check.name: check for check in CHECKS}
    for failing in mutant.fails:
        finding = checks[failing](mutant.subject, setting)
        assert not finding.is_ok, finding
