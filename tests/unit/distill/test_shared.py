"""A shared teacher says the same to all who ask the same, and runs once for them."""

from dataclasses import replace

import pytest
import torch
from raykd.batch import LayersWanted
from raykd.config.schema.run import TaskName
from raykd.distill.shared import SharedTeacher
from raykd.teachers.live import LiveTeacher

from tests.tiny_models import padded_batch, scored, tiny_model

TASK: TaskName = "masked_lm"


@pytest.fixture
def teacher() -> SharedTeacher:
    return SharedTeacher(scored(tiny_model("bert", TASK), TASK), num_remembered=2)


def test_an_equal_batch_is_answered_from_memory(teacher: SharedTeacher) -> None:
    batch = padded_batch(TASK)
    first = teacher(batch)
    assert teacher(replace(batch, input_ids_BL=batch.input_ids_BL.clone())) is first
    assert teacher.num_runs == 1
    expected = LiveTeacher(teacher.model)(batch).logits_PK
    assert torch.equal(first.logits_PK, expected)


def test_another_question_has_it_run(teacher: SharedTeacher) -> None:
    batch = padded_batch(TASK)
    teacher(batch)
    others = [
        replace(batch, input_ids_BL=batch.input_ids_BL + 1),
        replace(batch, positions_P=batch.positions_P[1:], labels_P=batch.labels_P[1:]),
        replace(batch, attention_mask_BL=None),
        replace(batch, languages_B=batch.languages_B + 1),
    ]
    for number, other in enumerate(others, start=2):
        teacher(other)
        assert teacher.num_runs == number


def test_other_layers_have_it_run(teacher: SharedTeacher) -> None:
    batch = padded_batch(TASK)
    assert not teacher(batch).hidden_states_TD
    assert list(teacher(batch, LayersWanted(hidden=(1,))).hidden_states_TD) == [1]
    assert teacher.num_runs == 2


def test_it_remembers_so_many_batches_and_no_more(teacher: SharedTeacher) -> None:
    batches = [replace(padded_batch(TASK), num_tokens=number) for number in range(3)]
    for asked, runs in ((0, 1), (1, 2), (0, 2), (2, 3), (1, 3), (0, 4)):
        teacher(batches[asked])
        assert teacher.num_runs == runs
