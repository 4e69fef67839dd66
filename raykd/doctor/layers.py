"""Whether the terms on layers are their formulas, row by row and token by token.

Letters beside those of ``raykd.batch``: R is the tokens of one row.
"""

from collections.abc import Callable, Iterator

import torch

from raykd.batch import AttentionInputs, LayersWanted, ModelOutputs
from raykd.config.schema.layer_losses import (
    AttentionRelationsConfig,
    AttentionScoresConfig,
    HiddenStatesConfig,
)
from raykd.config.schema.losses import LossesConfig
from raykd.distill.models import shape_of
from raykd.doctor.cases import (
    LAYER_LOSSES,
    LENGTHS,
    TEACHER,
    Case,
    build_case,
)
from raykd.doctor.subject import Setting, Subject, check, deviation
from raykd.losses.comparisons import ModelShape
from raykd.losses.layer_terms import LayerTerm

_FOLLOWED = (0, 2)
"""The teacher's layer of each layer of the student."""

_HEADS = 2
"""Relation heads: not those of the models, which have four."""

_LOSSES = LossesConfig(
    hidden_states=HiddenStatesConfig(layers=_FOLLOWED),
    attention_scores=AttentionScoresConfig(layers=_FOLLOWED),
    attention_relations=AttentionRelationsConfig(num_heads=_HEADS),
)


@check(tolerance=2e-5)
@torch.no_grad()
def layer_formulas(subject: Subject, setting: Setting) -> Iterator[float]:
    """Each token has the value of the formula: real keys, no future, one map of layers."""
    for task in ("masked_lm", "causal_lm"):
        case = build_case(task, setting)
        batch = subject.collate(case.task, case.rows).to(setting.device)
        terms = _terms(subject, _LOSSES, case, teacher=shape_of(case.teacher.model.config))
        student = case.student(batch, LayersWanted(hidden=(0, 1, 2), attention=(0, 1)))
        teacher = case.teacher(batch, LayersWanted(hidden=(0, 1, 3), attention=(0, 2)))
        expected = {
            "hidden_states": _hidden(terms["hidden_states"], student, teacher),
            "attention_scores": _by_row(_scores_apart, student, teacher),
            "attention_relations": _by_row(_relations_apart, student, teacher),
        }
        for name, term in terms.items():
            values_T = term.per_token(student, teacher, batch)
            yield deviation(values_T, expected[name])


@check(tolerance=1e-6)
def layer_zero(subject: Subject, setting: Setting) -> Iterator[float]:
    """A student whose layers are those of its teacher has no loss on layers."""
    for task in ("masked_lm", "causal_lm"):
        case = build_case(task, setting)
        batch = subject.collate(case.task, case.rows).to(setting.device)
        terms = _terms(subject, LAYER_LOSSES, case, teacher=shape_of(case.student.model.config))
        outputs = case.student(batch, LayersWanted(hidden=(0, 1, 2), attention=(0, 1)))
        for term in terms.values():
            values_T = term.per_token(outputs, outputs, batch)
            yield deviation(values_T, torch.zeros_like(values_T))


def _terms(
    subject: Subject, losses: LossesConfig, case: Case, *, teacher: ModelShape
) -> dict[str, LayerTerm]:
    torch.manual_seed(0)  # for the projections
    terms = subject.build_layer_terms(
        losses,
        student=shape_of(case.student.model.config),
        teachers={TEACHER: teacher},
        followed={},
    )
    device = next(case.student.parameters()).device
    for term in terms:
        term.projections.to(device)
    return {term.name: term for term in terms}


def _hidden(term: LayerTerm, student: ModelOutputs, teacher: ModelOutputs) -> torch.Tensor:
    # Hidden state 0 is that of the embeddings: layer i, from 0, ends in hidden state i + 1.
    pairs = [(0, 0), *((mine + 1, theirs + 1) for mine, theirs in enumerate(_FOLLOWED))]
    values = []
    for mine, theirs in pairs:
        projection = term.projections["layers" if mine else "embeddings"]
        projected_TD = projection(student.hidden_states_TD[mine].float()).double()
        difference_TD = projected_TD - teacher.hidden_states_TD[theirs].double()
        values.append(difference_TD.square().mean(dim=-1))
    return torch.stack(values).sum(dim=0)


_OfRow = Callable[[ModelOutputs, ModelOutputs, int, int], torch.Tensor]
"""(student, teacher, row, its length) to values of its tokens [R], in float64."""


def _by_row(of_row: _OfRow, student: ModelOutputs, teacher: ModelOutputs) -> torch.Tensor:
    rows = enumerate(LENGTHS)
    return torch.cat([of_row(student, teacher, row, length) for row, length in rows])


def _scores_apart(
    student: ModelOutputs, teacher: ModelOutputs, row: int, length: int
) -> torch.Tensor:
    values = []
    for mine, theirs in enumerate(_FOLLOWED):
        of_student, of_teacher = student.attention[mine], teacher.attention[theirs]
        difference_HRR = _scores(of_student, row, length) - _scores(of_teacher, row, length)
        for token in range(length):
            # What a causal token does not attend to is not compared.
            seen = token + 1 if of_student.is_causal else length
            values.append(difference_HRR[:, token, :seen].square().mean())
    return torch.stack(values).view(len(_FOLLOWED), length).sum(dim=0)


def _scores(inputs: AttentionInputs, row: int, length: int) -> torch.Tensor:
    query_HRE = inputs.query_BHLE[row, :, :length].double()
    key_GRE = inputs.key_BGLE[row, :, :length].double()
    # Grouped queries: so many neighbouring heads share a key.
    shared = len(query_HRE) // len(key_GRE)
    scores_HRR: torch.Tensor = query_HRE @ key_GRE.repeat_interleave(shared, dim=0).mT
    return scores_HRR * inputs.scaling


def _relations_apart(
    student: ModelOutputs, teacher: ModelOutputs, row: int, length: int
) -> torch.Tensor:
    of_student, of_teacher = student.attention[1], teacher.attention[2]
    # The last layers alone: relations are compared there, as in MiniLMv2.
    values = []
    for part in ("query_BHLE", "key_BGLE", "value_BGLE"):
        log_q_HRR, log_p_HRR = (
            _log_relations(getattr(inputs, part)[row, :, :length], is_causal=inputs.is_causal)
            for inputs in (of_student, of_teacher)
        )
        # The future of a causal row is -inf minus -inf, which counts nothing.
        terms_HRR = (log_p_HRR.exp() * (log_p_HRR - log_q_HRR)).nan_to_num(nan=0.0)
        values.append(terms_HRR.sum(dim=-1).mean(dim=0))
    return torch.stack(values).sum(dim=0)


def _log_relations(part_HRE: torch.Tensor, *, is_causal: bool) -> torch.Tensor:
    states_RD = part_HRE.transpose(0, 1).flatten(1).double()
    heads_HRE = states_RD.unflatten(1, (_HEADS, -1)).transpose(0, 1)
    scores_HRR: torch.Tensor = heads_HRE @ heads_HRE.mT / heads_HRE.shape[-1] ** 0.5
    if is_causal:
        future_RR = torch.ones_like(scores_HRR[0]).triu(1).bool()
        scores_HRR = scores_HRR.masked_fill(future_RR, -torch.inf)
    return scores_HRR.log_softmax(dim=-1)
