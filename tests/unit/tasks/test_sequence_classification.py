"""Sequence classification: one scored token for each row."""

from typing import get_args

import pytest
from raykd.errors import DataError
from raykd.tasks.sequence_classification import SequenceClassification, Summary

from tests.unit.tasks.rows import rows_of


def task_of(summary: Summary) -> SequenceClassification:
    return SequenceClassification(class_names=("no", "yes"), summary=summary, pad_id=0)


@pytest.mark.parametrize(("summary", "positions"), [("first", [0, 3, 6]), ("last", [1, 5, 6])])
def test_the_summary_token_of_each_row_is_scored(summary: Summary, positions: list[int]) -> None:
    batch = task_of(summary).collate(rows_of([[5, 6], [7, 8, 9], [4]], labels=[1, 0, 1]))
    assert batch.positions_P.tolist() == positions
    assert batch.labels_P.tolist() == [1, 0, 1]
    assert batch.examples_P.tolist() == [0, 1, 2]


@pytest.mark.parametrize("summary", get_args(Summary))
def test_no_rows_are_an_idle_batch_even_without_labels(summary: Summary) -> None:
    assert task_of(summary).collate(rows_of([])).input_ids_BL.tolist() == [[0]]


def test_rows_without_labels_are_refused() -> None:
    with pytest.raises(DataError, match="have no label, which sequence_classification needs"):
        task_of("first").collate(rows_of([[1]]))


def test_classes_are_what_is_scored() -> None:
    assert task_of("first").num_classes == 2
