"""Whether a step adds up its terms by their weights, and leaves the teacher alone."""

from collections.abc import Iterator

import torch

from raykd.batch import LayersWanted
from raykd.config.schedule import parse_schedule
from raykd.config.schema.losses import (
    CrossEntropyConfig,
    ForwardKLConfig,
    LossesConfig,
)
from raykd.distill.step import StepCounts
from raykd.doctor.cases import (
    LAYER_LOSSES,
    TASKS,
    TEACHER,
    Case,
    build_case,
    build_step,
    one_step,
)
from raykd.doctor.formulas import FORMULAS
from raykd.doctor.subject import Setting, Subject, check, deviation
from raykd.losses.layer_terms import LayerTerm

_WEIGHTS = {"cross_entropy": "0 -> 1", "forward_kl": "2 -> 0.5"}
_TEMPERATURE = "4 -> 1"


@check(tolerance=1e-3)  # at a high temperature a divergence is a small difference of logs
@torch.no_grad()
def schedules(subject: Subject, setting: Setting) -> Iterator[float]:
    """The objective is the sum of its terms by weight and temperature of the moment."""
    losses = LossesConfig(
        cross_entropy=CrossEntropyConfig(weight=_WEIGHTS["cross_entropy"]),
        forward_kl=ForwardKLConfig(weight=_WEIGHTS["forward_kl"], temperature=_TEMPERATURE),
    )
    for task in TASKS:
        case = build_case(task, setting)
        step = build_step(subject, case, setting, losses)
        batch = subject.collate(case.task, case.rows).to(setting.device)
        # Not the batch's own: the step has to divide by the counts that it is given.
        counts = StepCounts(positions=7.0, tokens=1.0)
        student_PK = step.student_outputs(batch).logits_PK.double()
        teacher_PK = step.signals(batch)[0].outputs.logits_PK.double()
        hard_P = -student_PK.softmax(dim=-1).log().gather(1, batch.labels_P[:, None])
        for progress in (0.0, 0.3, 1.0):
            at = {name: parse_schedule(text).at(progress) for name, text in _WEIGHTS.items()}
            soft_P = FORMULAS["forward_kl"].values(
                student_PK, teacher_PK, parse_schedule(_TEMPERATURE).at(progress)
            )
            expected = at["cross_entropy"] * hard_P.sum() + at["forward_kl"] * soft_P.sum()
            loss = step(batch, progress, counts).loss
            yield deviation(loss, expected / counts.positions)


@check()
def teacher_mode(subject: Subject, setting: Setting) -> Iterator[float]:
    """A teacher with dropout gives one answer, that of evaluation, while a run trains."""
    for task in TASKS:
        case = build_case(task, setting, dropout=0.5)
        batch = case.task.collate(case.rows).to(setting.device)
        with torch.no_grad():
            expected_PK = case.teacher.eval()(batch).logits_PK
        # As left by who loaded it: the step has to put it right.
        case.teacher.train()
        step = build_step(subject, case, setting, LossesConfig(forward_kl=ForwardKLConfig()))
        for _ in range(2):
            (signal,) = step.signals(batch)
            yield deviation(signal.outputs.logits_PK, expected_PK)


@check(tolerance=0)
def teacher_gradient(subject: Subject, setting: Setting) -> Iterator[float]:
    """The optimizer cannot reach the teacher, and no gradient is computed for it."""
    for task in ("masked_lm", "causal_lm"):
        case = build_case(task, setting)
        step = build_step(subject, case, setting, LAYER_LOSSES)
        batch = subject.collate(case.task, case.rows).to(setting.device)
        own = {id(parameter) for parameter in case.teacher.parameters()}
        yield sum(id(parameter) in own for parameter in step.parameters())
        wanted = LayersWanted(hidden=(1,), attention=(0,))
        (signal,) = step.signals(batch, {TEACHER: wanted})
        outputs = signal.outputs
        yield outputs.logits_PK.requires_grad
        yield outputs.hidden_states_TD[1].requires_grad
        yield outputs.attention[0].query_BHLE.requires_grad
        one_step(step, (batch,), setting)
        yield _num_gradients(case)


@check(tolerance=0)
def detached(subject: Subject, setting: Setting) -> Iterator[float]:
    """No term sends a gradient into the teacher's outputs."""
    case = build_case("masked_lm", setting)
    batch = subject.collate(case.task, case.rows).to(setting.device)
    insides = LayersWanted(hidden=(0, 1, 2, 3), attention=(0, 1, 2))
    step = build_step(subject, case, setting, LAYER_LOSSES)
    # The terms themselves are tried here: a teacher without gradient would hide their mistake.
    case.teacher.requires_grad_()
    of_teacher = case.teacher(batch, insides)
    of_student = case.student(batch, LayersWanted(hidden=(0, 1, 2), attention=(0, 1)))
    values = [
        term.per_position(of_student.logits_PK, of_teacher.logits_PK, **term.settings_at(0.0))
        for formula in FORMULAS.values()
        for term in subject.build_terms(formula.losses("2"))
    ]
    values += [
        term.per_token(of_student, of_teacher, batch)
        for term in step.terms
        if isinstance(term, LayerTerm)
    ]
    for values_T in values:
        values_T.sum().backward(retain_graph=True)
        yield _num_gradients(case)
        case.teacher.zero_grad()


def _num_gradients(case: Case) -> int:
    return sum(parameter.grad is not None for parameter in case.teacher.parameters())
