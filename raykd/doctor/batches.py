"""Whether the objective is a matter of the rows alone, however they are put into batches."""

from collections.abc import Iterator

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
from raykd.doctor.subject import Setting, Subject, check

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


@check()
def padding(subject: Subject, setting: Setting) -> Iterator[float]:
    """Neither the amount of padding nor what stands in it changes loss or gradient."""
    for case, step in _objectives(subject, setting):
        rows = [case.rows.take(np.array([row])) for row in range(len(LENGTHS))]
        alone = tuple(subject.collate(case.task, row) for row in rows)
        expected = one_step(step, alone, setting)
        together = subject.collate(case.task, case.rows)
        # 11 is a word: padding counts nothing even where its ids look like text.
        for batch in (together, lengthened(together, 9, fill=11)):
            yield one_step(step, (batch,), setting).apart_from(expected)


@check()
def micro_batches(subject: Subject, setting: Setting) -> Iterator[float]:
    """Cutting a step into micro-batches, one of them empty, changes neither loss nor gradient."""
    for case, step in _objectives(subject, setting):
        uncut = one_step(step, (subject.collate(case.task, case.rows),), setting)
        pieces = (*case.rows.split(len(LENGTHS) - 1), Rows.empty())
        batches = tuple(subject.collate(case.task, piece) for piece in pieces)
        yield one_step(step, batches, setting).apart_from(uncut)


def _objectives(subject: Subject, setting: Setting) -> Iterator[tuple[Case, DistillationStep]]:
    for task, objectives in _OBJECTIVES.items():
        case = build_case(task, setting)
        for losses in objectives:
            yield case, build_step(subject, case, setting, losses)
