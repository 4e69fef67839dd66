"""Causal language modelling: the labels are shifted once, within each row."""

from hypothesis import given
from hypothesis import strategies as st
from raykd.tasks.causal_lm import CausalLM, next_tokens

from tests.unit.tasks.rows import rows_of

PAD = 99
TASK = CausalLM(num_classes=100, pad_id=PAD)


def test_each_token_but_the_last_of_its_row_is_scored_with_the_next_one() -> None:
    batch = TASK.collate(rows_of([[1, 2, 3], [4], [5, 6]]))
    assert batch.input_ids_BL.tolist() == [[1, 2, 3], [4, PAD, PAD], [5, 6, PAD]]
    assert batch.positions_P.tolist() == [0, 1, 6]
    assert batch.labels_P.tolist() == [2, 3, 6]


@given(tokens=st.lists(st.lists(st.integers(0, 98), min_size=1, max_size=6), min_size=1))
def test_the_shift_never_crosses_rows(tokens: list[list[int]]) -> None:
    _, labels_P = next_tokens(rows_of(tokens))
    assert labels_P.tolist() == [token for row in tokens for token in row[1:]]


def test_no_rows_are_an_idle_batch() -> None:
    assert TASK.collate(rows_of([])).input_ids_BL.tolist() == [[PAD]]
