"""What a teacher has said to one student of a process is told to all who ask the same."""

from dataclasses import replace

import pytest
import torch
from raykd.batch import LayersWanted
from raykd.config.schema.run import TaskName
from raykd.distill.shared import Answers, SharedTeacher
from raykd.scores import REMEMBERED_BYTES
from raykd.teachers.live import LiveTeacher

from tests.tiny_models import padded_batch, scored, tiny_model

TASK: TaskName = "masked_lm"


@pytest.fixture
def live() -> LiveTeacher:
    return LiveTeacher(scored(tiny_model("bert", TASK), TASK))


@pytest.fixture
def teacher(live: LiveTeacher) -> SharedTeacher:
    return SharedTeacher(teacher=live, answers=Answers(num_kept=2))


def test_an_equal_batch_is_answered_from_memory(live: LiveTeacher, teacher: SharedTeacher) -> None:
    batch = padded_batch(TASK)
    first = teacher(batch)
    assert teacher(replace(batch, input_ids_BL=batch.input_ids_BL.clone())) is first
    assert teacher.answers.num_made == 1
    assert torch.equal(first.logits_PK, live(batch).logits_PK)


def test_scores_of_a_chunk_are_made_once_and_are_those_of_the_teacher(
    live: LiveTeacher, teacher: SharedTeacher
) -> None:
    batch = padded_batch(TASK)
    scores, expected = teacher(batch).scores, live(batch).scores
    for chosen in (slice(0, 2), slice(2, None), slice(None)):
        assert scores.logits(chosen) is scores.logits(chosen)
        assert torch.equal(scores.logits(chosen), expected.logits(chosen))
    some = torch.tensor([1, 0])
    assert torch.equal(scores.logits(some), expected.logits(some))
    assert torch.equal(scores.first(5).logits(), expected.first(5).logits())
    assert (scores.num_positions, scores.num_classes) == (
        len(batch.labels_P),
        expected.num_classes,
    )


def test_scores_that_would_fill_the_memory_are_made_anew(live: LiveTeacher) -> None:
    # So many answers are kept that there is no byte for each.
    teacher = SharedTeacher(teacher=live, answers=Answers(num_kept=REMEMBERED_BYTES + 1))
    scores = teacher(padded_batch(TASK)).scores
    assert scores.logits() is not scores.logits()


def test_another_question_has_it_asked(teacher: SharedTeacher) -> None:
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
        assert teacher.answers.num_made == number


def test_other_layers_have_it_asked(teacher: SharedTeacher) -> None:
    batch = padded_batch(TASK)
    assert not teacher(batch).hidden_states_TD
    assert list(teacher(batch, LayersWanted(hidden=(1,))).hidden_states_TD) == [1]
    assert teacher.answers.num_made == 2


def test_so_many_answers_are_kept_and_no_more(teacher: SharedTeacher) -> None:
    batches = [replace(padded_batch(TASK), num_tokens=number) for number in range(3)]
    for asked, made in ((0, 1), (1, 2), (0, 2), (2, 3), (1, 3), (0, 4)):
        teacher(batches[asked])
        assert teacher.answers.num_made == made
