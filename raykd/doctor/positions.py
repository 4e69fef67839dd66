"""Whether the right positions are scored, against the right labels."""

from collections.abc import Iterator
from typing import Any

import torch

from raykd.batch import Batch
from raykd.config.schema.losses import CrossEntropyConfig, LossesConfig
from raykd.doctor.cases import (
    LENGTHS,
    TASKS,
    Case,
    Outcome,
    build_case,
    build_step,
    gradient_of,
    one_step,
)
from raykd.doctor.subject import Setting, Subject, check

_IGNORED = -100
"""What transformers calls a position that is not scored."""


@check(tolerance=0)
def labels(subject: Subject, setting: Setting) -> Iterator[float]:
    """Each scored position has its own label: the next token, the hidden one, the class."""
    for task in TASKS:
        case = build_case(task, setting)
        batch = subject.collate(case.task, case.rows)
        places = [divmod(p, batch.input_ids_BL.shape[1]) for p in batch.positions_P.tolist()]
        scored = [
            (row, place, label)
            for (row, place), label in zip(places, batch.labels_P.tolist(), strict=True)
        ]
        # Missing or superfluous, then scored twice.
        yield len(set(scored) ^ _expected(case, batch))
        yield len(scored) - len(set(scored))


@check()
def cross_entropy(subject: Subject, setting: Setting) -> Iterator[float]:
    """Loss and gradient are those that transformers computes from the whole rows."""
    for task in TASKS:
        case = build_case(task, setting)
        step = build_step(subject, case, setting, LossesConfig(cross_entropy=CrossEntropyConfig()))
        outcome = one_step(step, (subject.collate(case.task, case.rows),), setting)
        yield outcome.apart_from(_of_transformers(case, setting))


def _expected(case: Case, batch: Batch) -> set[tuple[int, int, int]]:
    """Return the row, the place in the row and the label of what a task scores."""
    rows = case.rows
    assert rows.labels_B is not None  # noqa: S101  tiny rows have labels for every task
    assert rows.token_labels_T is not None  # noqa: S101
    expected = set()
    start = 0
    for row, length in enumerate(LENGTHS):
        tokens = rows.token_ids_T[start : start + length].tolist()
        classes = rows.token_labels_T[start : start + length].tolist()
        match case.task.name:
            case "causal_lm":
                expected |= {(row, i, tokens[i + 1]) for i in range(length - 1)}
            case "masked_lm":
                shown = batch.input_ids_BL[row].tolist()
                expected |= {(row, i, t) for i, t in enumerate(tokens) if shown[i] != t}
            case "sequence_classification":
                expected.add((row, 0, int(rows.labels_B[row])))
            case "token_classification":
                expected |= {(row, i, c) for i, c in enumerate(classes) if c != _IGNORED}
        start += length
    return expected


def _of_transformers(case: Case, setting: Setting) -> Outcome:
    """Return what the model's own forward makes of the rows, given a label for every token."""
    batch = case.task.collate(case.rows).to(setting.device)
    model: Any = case.student.model
    if case.task.name == "sequence_classification":
        targets = batch.labels_P
    elif case.task.name == "causal_lm":
        # It shifts them itself.
        targets = batch.input_ids_BL.where(batch.is_token_BL, _IGNORED)
    else:
        targets = torch.full_like(batch.input_ids_BL, _IGNORED)
        targets.view(-1)[batch.positions_P] = batch.labels_P
    model.zero_grad()
    with torch.autocast(
        setting.device.type, dtype=setting.dtype, enabled=setting.autocast_dtype is not None
    ):
        loss = model(
            input_ids=batch.input_ids_BL, attention_mask=batch.attention_mask_BL, labels=targets
        ).loss
    loss.backward()
    return Outcome(loss=loss.detach(), gradient=gradient_of(case.student.parameters()))
