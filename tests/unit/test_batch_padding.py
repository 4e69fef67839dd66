"""Padding: what the models read, and where in it the scored tokens lie."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from raykd.batch import idle_batch, padded_batch
from raykd.errors import DataError

from tests.unit.tasks.rows import rows_of

PAD = 9
token_rows = st.lists(st.lists(st.integers(0, 8), min_size=1, max_size=7), min_size=1, max_size=6)


@given(tokens=token_rows, data=st.data())
def test_every_row_is_padded_at_its_end_and_positions_point_at_the_scored_tokens(
    tokens: list[list[int]], data: st.DataObject
) -> None:
    rows = rows_of(tokens)
    num_tokens = len(rows.token_ids_T)
    scored = data.draw(st.sets(st.integers(0, num_tokens - 1)).map(sorted))
    scored_P = np.array(scored, dtype=np.int64)
    batch = padded_batch(
        rows, input_ids_T=rows.token_ids_T, scored_P=scored_P, labels_P=scored_P, pad_id=PAD
    )

    longest = max(map(len, tokens))
    assert batch.input_ids_BL.tolist() == [[*row, *[PAD] * (longest - len(row))] for row in tokens]
    mask = [[1] * len(row) + [0] * (longest - len(row)) for row in tokens]
    if batch.attention_mask_BL is None:
        assert all(map(all, mask))
    else:
        assert batch.attention_mask_BL.tolist() == mask
    owners_T = np.repeat(np.arange(len(tokens)), rows.lengths_B)
    assert (
        batch.input_ids_BL.flatten()[batch.positions_P].tolist()
        == rows.token_ids_T[scored_P].tolist()
    )
    assert batch.examples_P.tolist() == owners_T[scored_P].tolist()
    assert batch.labels_P.tolist() == scored
    assert batch.num_tokens == num_tokens


def test_rows_of_one_length_need_no_attention_mask() -> None:
    rows, nothing_P = rows_of([[1, 2], [3, 4]]), np.zeros(0, dtype=np.int64)
    batch = padded_batch(
        rows, input_ids_T=rows.token_ids_T, scored_P=nothing_P, labels_P=nothing_P, pad_id=PAD
    )
    assert batch.attention_mask_BL is None


def test_segments_languages_and_identities_travel_along() -> None:
    rows = dataclasses.replace(
        rows_of([[1, 2, 3], [4]], languages=[2, 0], row_ids=[70, 5]),
        token_types_T=np.array([0, 1, 1, 1]),
    )
    nothing_P = np.zeros(0, dtype=np.int64)
    batch = padded_batch(
        rows, input_ids_T=rows.token_ids_T, scored_P=nothing_P, labels_P=nothing_P, pad_id=PAD
    )
    assert batch.token_type_ids_BL is not None
    assert batch.token_type_ids_BL.tolist() == [[0, 1, 1], [1, 0, 0]]
    assert batch.languages_B.tolist() == [2, 0]
    assert batch.row_ids_B.tolist() == [70, 5]


def test_a_row_without_tokens_is_named() -> None:
    rows, nothing_P = rows_of([[1], []], row_ids=[3, 44]), np.zeros(0, dtype=np.int64)
    with pytest.raises(DataError, match="row 44: has no tokens"):
        padded_batch(
            rows, input_ids_T=rows.token_ids_T, scored_P=nothing_P, labels_P=nothing_P, pad_id=PAD
        )


def test_an_idle_batch_is_one_padding_token_that_nothing_scores() -> None:
    batch = idle_batch(PAD)
    assert batch.input_ids_BL.tolist() == [[PAD]]
    assert batch.attention_mask_BL is None
    assert batch.positions_P.tolist() == batch.labels_P.tolist() == []
    assert batch.examples_P.tolist() == []
    assert batch.num_tokens == 0
