"""Rows are cut and put together without losing a token; a batch moves as a whole."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from raykd.batch import Batch, IntArray, Rows

lengths = st.lists(st.integers(0, 6), max_size=12)


def rows_of(lengths: list[int], *, labelled: bool = False) -> Rows:
    """Return rows whose every value is different, so that none can stand for another."""
    lengths_B = np.array(lengths, dtype=np.int64)
    ids_B = np.arange(len(lengths), dtype=np.int64)
    tokens_T = np.arange(lengths_B.sum(), dtype=np.int64)
    return Rows(
        token_ids_T=1_000 + tokens_T,
        lengths_B=lengths_B,
        row_ids_B=100 + ids_B,
        epochs_B=200 + ids_B,
        languages_B=300 + ids_B,
        labels_B=400 + ids_B if labelled else None,
        token_labels_T=2_000 + tokens_T if labelled else None,
        token_types_T=3_000 + tokens_T if labelled else None,
    )


def texts(rows: Rows, tokens_T: IntArray | None) -> dict[int, list[int] | None]:
    """Return what each row has of some value per token, by the row's id."""
    ends = np.cumsum(rows.lengths_B)
    return {
        int(row): None if tokens_T is None else tokens_T[end - length : end].tolist()
        for row, length, end in zip(rows.row_ids_B, rows.lengths_B, ends, strict=True)
    }


def contents(rows: Rows) -> dict[int, list[object]]:
    """Return everything that belongs to each row, by the row's id."""
    per_token = [
        texts(rows, t) for t in (rows.token_ids_T, rows.token_labels_T, rows.token_types_T)
    ]
    labels = [None] * len(rows) if rows.labels_B is None else rows.labels_B.tolist()
    return {
        int(row): [epoch, language, label, *(values[int(row)] for values in per_token)]
        for row, epoch, language, label in zip(
            rows.row_ids_B, rows.epochs_B, rows.languages_B, labels, strict=True
        )
    }


@given(lengths=lengths, labelled=st.booleans(), data=st.data())
def test_taken_rows_keep_all_that_belongs_to_them(
    lengths: list[int], labelled: bool, data: st.DataObject
) -> None:
    rows = rows_of(lengths, labelled=labelled)
    chosen = data.draw(st.permutations(range(len(rows))))[: data.draw(st.integers(0, len(rows)))]
    taken = rows.take(np.array(chosen, dtype=np.int64))
    assert taken.row_ids_B.tolist() == [100 + index for index in chosen]
    everything = contents(rows)
    assert contents(taken) == {100 + index: everything[100 + index] for index in chosen}


def test_a_row_may_be_taken_twice() -> None:
    taken = rows_of([2, 3]).take(np.array([1, 0, 1]))
    assert taken.token_ids_T.tolist() == [1002, 1003, 1004, 1000, 1001, 1002, 1003, 1004]
    assert taken.lengths_B.tolist() == [3, 2, 3]


@given(lengths=lengths, labelled=st.booleans(), size=st.integers(1, 5))
def test_split_rows_are_all_there_from_short_to_long(
    lengths: list[int], labelled: bool, size: int
) -> None:
    rows = rows_of(lengths, labelled=labelled)
    pieces = rows.split(size)
    assert [length for piece in pieces for length in piece.lengths_B] == sorted(lengths)
    assert [len(piece) for piece in pieces[:-1]] == [size] * (len(pieces) - 1)
    assert len(pieces[-1]) <= size
    together: dict[int, list[object]] = {}
    for piece in pieces:
        together |= contents(piece)
    assert together == contents(rows)


def test_rows_of_equal_length_stay_in_order() -> None:
    (piece,) = rows_of([3, 1, 3, 1]).split(4)
    assert piece.row_ids_B.tolist() == [101, 103, 100, 102]


def test_no_rows_make_one_empty_piece() -> None:
    (piece,) = Rows.empty().split(4)
    assert contents(piece) == {}
    assert piece.token_ids_T.tolist() == []


def batch_of(*, padded: bool = True) -> Batch:
    return Batch(
        input_ids_BL=torch.arange(6).reshape(2, 3),
        attention_mask_BL=torch.tensor([[1, 1, 1], [1, 0, 0]]) if padded else None,
        token_type_ids_BL=torch.zeros(2, 3, dtype=torch.int64) if padded else None,
        positions_P=torch.tensor([0, 2, 3, 5]),
        labels_P=torch.tensor([7, 8, 9, 10]),
        languages_B=torch.tensor([0, 1]),
        row_ids_B=torch.tensor([11, 12]),
        epochs_B=torch.tensor([0, 1]),
        num_tokens=4,
    )


def test_examples_of_the_scored_positions() -> None:
    assert batch_of().examples_P.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("padded", [True, False])
def test_a_batch_moves_to_a_device_as_a_whole(padded: bool) -> None:
    batch = batch_of(padded=padded)
    moved = batch.to(torch.device("meta"))
    for field in fields(Batch):
        before, after = getattr(batch, field.name), getattr(moved, field.name)
        if isinstance(before, torch.Tensor):
            assert (after.device.type, after.shape, after.dtype) == (
                "meta",
                before.shape,
                before.dtype,
            )
        elif field.name != "host":
            assert after == before
    assert moved.on_host is batch
    stayed = batch.to(torch.device("cpu"))
    assert stayed.input_ids_BL.tolist() == batch.input_ids_BL.tolist()
    assert stayed.labels_P.tolist() == [7, 8, 9, 10]
    assert stayed.on_host is stayed


def test_examples_of_a_batch_elsewhere_are_chosen_without_reading_from_there() -> None:
    # A tensor on meta has no values: whoever reads one fails.
    elsewhere = torch.device("meta")
    chosen, positions_Q = batch_of().to(elsewhere).of_examples(torch.tensor([False, True]))
    assert chosen.input_ids_BL.device == elsewhere
    # Whoever looks for a chunk's own positions waits for no device.
    assert positions_Q.device.type == "cpu"
    assert (positions_Q.shape, chosen.num_tokens) == ((2,), 1)
    assert chosen.on_host.row_ids_B.tolist() == [12]
    assert chosen.on_host.positions_P.tolist() == [0, 2]
