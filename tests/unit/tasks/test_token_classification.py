"""Token classification: the labelled tokens are scored."""

import pytest
from raykd.errors import DataError
from raykd.tasks.token_classification import TokenClassification

from tests.unit.tasks.rows import rows_of

TASK = TokenClassification(class_names=("O", "B-X", "I-X"), pad_id=0)


def test_tokens_with_a_label_are_scored() -> None:
    rows = rows_of([[5, 6, 7, 8], [5, 9, 8]], token_labels=[[-100, 1, -100, 2], [-100, 0, -100]])
    batch = TASK.collate(rows)
    assert batch.positions_P.tolist() == [1, 3, 5]
    assert batch.labels_P.tolist() == [1, 2, 0]


def test_no_rows_are_an_idle_batch_even_without_labels() -> None:
    assert TASK.collate(rows_of([])).input_ids_BL.tolist() == [[0]]


def test_rows_without_word_labels_are_refused() -> None:
    with pytest.raises(DataError, match="have no word labels, which token_classification needs"):
        TASK.collate(rows_of([[1]]))


def test_classes_are_what_is_scored() -> None:
    assert TASK.num_classes == 3
