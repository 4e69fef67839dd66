"""Whether the objective is a matter of the rows alone, however they are put into batches."""

from collections.abc import Callable

import numpy as np

from raykd.batch import Rows
from raykd.config.schema.layer_losses import (
    AttentionRelationsConfig,
    AttentionScoresConfig,
    HiddenStatesConfig,
)
from raykd.config.schema.losses import CrossEntropyConfig, ForwardKLConfig, LossesConfig
from raykd.config.schema.run import TaskName
from raykd.distill.step import DistillationStep
from raykd.doctor.cases import (
    LENGTHS,
    Case,
    build_case,
    build_step,
    lengthened,
    one_step,
)
from raykd.doctor.subject import Finding, Setting, Subject

_ON_POSITIONS = LossesConfig(
    cross_entropy=CrossEntropyConfig(), forward_kl=ForwardKLConfig(temperature="2")
)
_ON_LAYERS = (
    LossesConfig(hidden_states=HiddenStatesConfig()),
    LossesConfig(attention_scores=AttentionScoresConfig()),
    LossesConfig(attention_relations=AttentionRelationsConfig()),
)
_OBJECTIVES: dict[TaskName, tuple[LossesConfig, ...]] = {
    "masked_lm": (_ON_POSITIONS, *_ON_LAYERS),
    "causal_lm": (_ON_POSITIONS, *_ON_LAYERS),
    "sequence_classification": (_ON_POSITIONS,),
    "token_classification": (_ON_POSITIONS,),
}
"""Terms on layers one after the other, so that a small one does not hide behind a large one."""


def padding(subject: Subject, setting: Setting) -> Finding:
    """Compare rows in one padded batch with the same rows alone, and with other padding."""

    def apart(case: Case, step: DistillationStep) -> float:
        rows = [case.rows.take(np.array([row])) for row in range(len(LENGTHS))]
        alone = tuple(subject.collate(case.task, row) for row in rows)
        expected = one_step(step, alone, setting)
        together = subject.collate(case.task, case.rows)
        longer = lengthened(together, 9, fill=11)
        return max(
            one_step(step, (batch,), setting).apart_from(expected) for batch in (together, longer)
        )

    return Finding(
        name="padding",
        says="neither the amount of padding nor what stands in it changes loss or gradient",
        deviation=_worst(apart, subject, setting),
        tolerance=setting.forward_tolerance,
    )


def micro_batches(subject: Subject, setting: Setting) -> Finding:
    """Compare one step on all rows with the same step in micro-batches, one of them empty."""

    def apart(case: Case, step: DistillationStep) -> float:
        whole = one_step(step, (subject.collate(case.task, case.rows),), setting)
        pieces = (*case.rows.split(len(LENGTHS) - 1), Rows.empty())
        batches = tuple(subject.collate(case.task, piece) for piece in pieces)
        return one_step(step, batches, setting).apart_from(whole)

    return Finding(
        name="micro-batches",
        says="cutting a step into micro-batches changes neither its loss nor its gradient",
        deviation=_worst(apart, subject, setting),
        tolerance=setting.forward_tolerance,
    )


def _worst(
    apart: Callable[[Case, DistillationStep], float], subject: Subject, setting: Setting
) -> float:
    worst = 0.0
    for task, objectives in _OBJECTIVES.items():
        case = build_case(task, setting)
        for losses in objectives:
            worst = max(worst, apart(case, build_step(subject, case, setting, losses)))
    return worst
