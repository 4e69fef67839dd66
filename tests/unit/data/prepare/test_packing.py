import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from raykd.data.prepare.packing import PackedLayout, Packer

SEPARATOR = 0
DOCUMENTS = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=20), max_size=12)


def _pack(layout: PackedLayout, chunks: list[list[list[int]]]) -> list[list[int]]:
    packer = Packer(layout)
    rows = []
    for documents in chunks:
        tokens = np.array([token for document in documents for token in document], dtype=np.uint32)
        lengths = np.array([len(document) for document in documents], dtype=np.int64)
        rows += list(packer.full_rows(tokens, lengths))
    return [row.tolist() for row in (*rows, *packer.last_row())]


def _joined(documents: list[list[int]]) -> list[int]:
    stream: list[int] = []
    for number, document in enumerate(documents):
        stream += ([SEPARATOR] if number else []) + document
    return stream


@given(documents=DOCUMENTS, cut=st.integers(0, 12), length=st.integers(4, 11))
def test_packing_between_special_tokens_loses_and_repeats_nothing(
    documents: list[list[int]], cut: int, length: int
) -> None:
    layout = PackedLayout(prefix=(101,), suffix=(102,), separator=SEPARATOR, max_length=length)
    rows = _pack(layout, [documents[:cut], documents[cut:]])
    assert [token for row in rows for token in row[1:-1]] == _joined(documents)
    assert all(row[0] == 101 and row[-1] == 102 for row in rows)
    assert all(len(row) == length for row in rows[:-1])
    tokens = sum(map(len, documents))
    assert layout.count_rows(documents=len(documents), tokens=tokens) == len(rows)


@given(documents=DOCUMENTS, cut=st.integers(0, 12))
def test_plain_packing_drops_at_most_a_last_single_token(
    documents: list[list[int]], cut: int
) -> None:
    layout = PackedLayout(prefix=(), suffix=(), separator=SEPARATOR, max_length=6)
    rows = _pack(layout, [documents[:cut], documents[cut:]])
    stream = _joined(documents)
    kept = [token for row in rows for token in row]
    assert kept == (stream[:-1] if len(stream) % 6 == 1 else stream)


def test_the_cut_of_the_documents_into_chunks_has_no_influence() -> None:
    layout = PackedLayout(prefix=(), suffix=(), separator=SEPARATOR, max_length=3)
    documents = [[1, 2], [3], [4, 5, 6, 7]]
    one_by_one = _pack(layout, [[document] for document in documents])
    assert one_by_one == _pack(layout, [documents]) == [[1, 2, 0], [3, 0, 4], [5, 6, 7]]


@pytest.mark.parametrize(("documents", "rows"), [([[7]], []), ([[7, 8]], [[7, 8]])])
def test_a_last_row_needs_two_tokens(documents: list[list[int]], rows: list[list[int]]) -> None:
    layout = PackedLayout(prefix=(), suffix=(), separator=SEPARATOR, max_length=4)
    assert _pack(layout, [documents]) == rows
