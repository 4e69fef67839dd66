"""Tallies: the sum over any split of the rows is the tally of all rows."""

import itertools
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from raykd.tasks.causal_lm import CausalLM
from raykd.tasks.sequence_classification import SequenceClassification
from raykd.tasks.tally import NUM_SCALARS, Tally, has_entities
from raykd.tasks.task import Task
from raykd.tasks.token_classification import TokenClassification

from tests.unit.tasks.rows import rows_of
from tests.unit.tasks.tallied import tallied

NUM_ROWS, NUM_LANGUAGES = 9, 3
CLASSES = ("O", "B-X", "I-X", "B-Y")
TASKS: list[Task] = [
    CausalLM(num_classes=11, pad_id=0),
    SequenceClassification(class_names=CLASSES, summary="first", pad_id=0),
    TokenClassification(class_names=CLASSES, pad_id=0),
]
every_task = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)


def tally_of(task: Task, indices: Sequence[int]) -> Tally:
    """Return the tally of some rows, in which everything depends on the row alone."""
    tokens = {index: [*range(1, 3 + index)] for index in indices}
    batch = task.collate(
        rows_of(
            [*tokens.values()],
            languages=[index % NUM_LANGUAGES for index in indices],
            labels=[index % len(CLASSES) for index in indices],
            token_labels=[[t * index % 4 for t in row] for index, row in tokens.items()],
        )
    )
    seeds = [indices[example] for example in batch.examples_P.tolist()]
    places = (batch.positions_P % batch.input_ids_BL.shape[1]).tolist()
    logits = [
        torch.randn(2, task.num_classes, generator=torch.Generator().manual_seed(100 * s + p))
        for s, p in zip(seeds, places, strict=True)
    ]
    student_PK, teacher_PK = (
        torch.stack(logits, dim=1) if logits else torch.zeros(2, 0, task.num_classes)
    )
    return tallied(
        task,
        student_PK,
        batch,
        num_languages=NUM_LANGUAGES,
        other_logits_PK=teacher_PK,
    )


@every_task
@given(data=st.data())
@settings(deadline=None, max_examples=20)
def test_any_split_of_the_rows_adds_up_to_the_same(task: Task, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(NUM_ROWS)))
    cuts = sorted(data.draw(st.sets(st.integers(0, NUM_ROWS))))
    parts = [order[a:b] for a, b in itertools.pairwise([0, *cuts, NUM_ROWS])]
    total = tally_of(task, range(NUM_ROWS))
    joined = tally_of(task, parts[0])
    for part in parts[1:]:
        joined += tally_of(task, part)
    torch.testing.assert_close(joined.sums_GS, total.sums_GS, rtol=1e-6, atol=0)
    counts, loss = slice(1, None), 0
    assert (joined.sums_GS[:, counts] == total.sums_GS[:, counts]).all()
    assert (total.sums_GS[:, loss] > 0).all()


@every_task
def test_an_idle_batch_adds_nothing_in_the_same_shape(task: Task) -> None:
    idle, busy = tally_of(task, []), tally_of(task, range(NUM_ROWS))
    assert idle.sums_GS.shape == busy.sums_GS.shape
    assert (idle.sums_GS == 0).all()


def test_each_sum_counts_what_it_says() -> None:
    task = SequenceClassification(class_names=("a", "b"), summary="first", pad_id=0)
    batch = task.collate(rows_of([[1]] * 3, languages=[0, 1, 1], labels=[0, 1, 1]))
    student_PK = torch.tensor([[0.0, -100.0], [0.0, -100.0], [0.0, 100.0]])
    teacher_PK = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    sums_GS = tallied(task, student_PK, batch, num_languages=2, other_logits_PK=teacher_PK).sums_GS
    # Loss, positions, right, with teacher, agreeing; entities; by class right, predicted, labels.
    assert sums_GS.tolist() == [
        [0, 1, 1, 1, 0, 0, 0, 0, 1, 0, 1, 0, 1, 0],
        [100, 2, 1, 2, 2, 0, 0, 0, 0, 1, 1, 1, 0, 2],
    ]


def test_without_a_teacher_no_position_is_compared() -> None:
    task = SequenceClassification(class_names=("a", "b"), summary="first", pad_id=0)
    batch = task.collate(rows_of([[1]], labels=[0]))
    with_teacher_and_agreeing = slice(3, 5)
    sums_GS = tallied(task, torch.zeros(1, 2), batch, num_languages=1).sums_GS
    assert sums_GS[0, with_teacher_and_agreeing].tolist() == [0, 0]


def test_a_vocabulary_is_not_counted_by_class() -> None:
    assert tally_of(TASKS[0], [1]).sums_GS.shape == (NUM_LANGUAGES, NUM_SCALARS)


def test_only_word_labels_are_entities() -> None:
    assert [has_entities(task) for task in TASKS] == [False, False, True]
    assert not has_entities(TokenClassification(class_names=("NOUN", "VERB"), pad_id=0))
