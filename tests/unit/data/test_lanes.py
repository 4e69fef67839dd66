"""Arrow to numpy: values, types, and pieces joined in order."""

import numpy as np
import pyarrow as pa
import pytest
from raykd.batch import Rows
from raykd.data.lanes import as_rows

BATCH = pa.record_batch(
    {
        "input_ids": pa.array([[7, 8], [9], [5, 6, 65_535]], pa.list_(pa.uint16())),
        "row_id": pa.array([3, 4, 5], pa.int64()),
        "language": pa.array([1, 1, 0], pa.int64()),
        "label": pa.array([2, 0, 1], pa.int32()),
        "word_labels": pa.array([[-100, 1], [0], [2, -100, 3]], pa.list_(pa.int16())),
    }
)


def assert_same(rows: Rows, expected: dict[str, list[int] | None]) -> None:
    for name, values in expected.items():
        found = getattr(rows, name)
        assert (None if found is None else found.tolist()) == values, name


WHOLE: dict[str, list[int] | None] = {
    "token_ids_T": [7, 8, 9, 5, 6, 65_535],
    "lengths_B": [2, 1, 3],
    "row_ids_B": [3, 4, 5],
    "epochs_B": [6, 6, 6],
    "languages_B": [1, 1, 0],
    "labels_B": [2, 0, 1],
    "token_labels_T": [-100, 1, 0, 2, -100, 3],
    "token_types_T": None,
}


def test_columns_become_int64_arrays() -> None:
    rows = as_rows(BATCH, epoch=6)
    assert_same(rows, WHOLE)
    assert rows.token_ids_T.dtype == rows.epochs_B.dtype == np.int64


def test_a_slice_of_a_record_batch_gives_its_own_rows_only() -> None:
    assert_same(
        as_rows(BATCH.slice(1, 2), epoch=0),
        {"token_ids_T": [9, 5, 6, 65_535], "lengths_B": [1, 3], "token_labels_T": [0, 2, -100, 3]},
    )


@pytest.mark.parametrize("cuts", [[(0, 3)], [(0, 1), (1, 3)], [(0, 1), (1, 1), (1, 2), (2, 3)]])
def test_joined_pieces_are_the_whole(cuts: list[tuple[int, int]]) -> None:
    pieces = [as_rows(BATCH.slice(start, stop - start), epoch=6) for start, stop in cuts]
    assert_same(Rows.concatenate(pieces), WHOLE)


def test_no_pieces_are_no_rows() -> None:
    assert len(Rows.concatenate([])) == 0
