"""Rows at any positions: how they are asked for and read in blocks changes nothing."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from raykd.batch import Rows
from raykd.config.schema.data import DataConfig
from raykd.data.lanes import BatchReader, addresses
from raykd.data.manifest import Manifest
from raykd.data.order import epoch_order
from raykd.data.stream import RowStream

from tests.prepared import write_prepared

BATCH_ROWS = [190, 7, 310, 64, 250, 1, 333, 120, 400, 96, 275, 511]
NUM_ROWS = sum(BATCH_ROWS)
NUM_LANES = 5


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    path = tmp_path_factory.mktemp("prepared") / "data"
    return write_prepared(path, {"train": {"en": BATCH_ROWS}}, max_length=8)


@pytest.fixture
def reader(manifest: Manifest) -> Iterator[BatchReader]:
    reader = BatchReader(manifest)
    yield reader
    reader.close()


def stream(manifest: Manifest, reader: BatchReader, lanes: range) -> RowStream:
    return RowStream(
        addresses(manifest, manifest.shards("train")),
        reader=reader,
        config=DataConfig(uri=manifest.uri, num_lanes=NUM_LANES, shuffle_window=2),
        seed=(4, 0),
        lanes=lanes,
    )


def row_ids(rows: RowStream, cuts: list[int]) -> list[int]:
    """Ask for the positions between the cuts one range after the other."""
    pieces = [piece for start, stop in pairwise(cuts) for piece in rows.rows(start, stop)]
    return [int(row_id) for row_id in Rows.concatenate(pieces).row_ids_B]


def test_blocks_are_smaller_than_the_data_set(manifest: Manifest, reader: BatchReader) -> None:
    """Otherwise nothing below crosses from one to the next."""
    assert len(stream(manifest, reader, range(NUM_LANES)).rows(0, NUM_ROWS)) > 1


def test_positions_take_the_next_row_of_their_lane(
    manifest: Manifest, reader: BatchReader
) -> None:
    order = epoch_order(BATCH_ROWS, num_lanes=NUM_LANES, seed=4, epoch=0)
    of_lane = [
        iter(row_ids(stream(manifest, reader, range(lane, lane + 1)), [0, NUM_ROWS]))
        for lane in range(NUM_LANES)
    ]
    before = np.stack([order.rows_before(position) for position in range(NUM_ROWS + 1)])
    lane_of_position = np.diff(before, axis=0).argmax(axis=1)
    assert row_ids(stream(manifest, reader, range(NUM_LANES)), [0, NUM_ROWS]) == [
        next(of_lane[lane]) for lane in lane_of_position
    ]


@pytest.mark.parametrize("size", [7, 1000, 1024, 2 * NUM_ROWS])
@pytest.mark.parametrize("lanes", [range(NUM_LANES), range(1, NUM_LANES, 2)])
def test_rows_do_not_depend_on_how_they_are_asked_for(
    manifest: Manifest, reader: BatchReader, size: int, lanes: range
) -> None:
    stop = 2 * NUM_ROWS
    cuts = [*range(0, stop, size), stop]
    found = row_ids(stream(manifest, reader, lanes), cuts)
    assert found == row_ids(stream(manifest, reader, lanes), [0, stop])
    assert max(np.bincount(found)) == 2


@pytest.mark.parametrize("start", [1, 1023, 1024, 1025, NUM_ROWS - 1, NUM_ROWS, NUM_ROWS + 700])
def test_a_stream_begins_at_any_position(
    manifest: Manifest, reader: BatchReader, start: int
) -> None:
    stop = 2 * NUM_ROWS
    whole = row_ids(stream(manifest, reader, range(NUM_LANES)), [0, stop])
    assert row_ids(stream(manifest, reader, range(NUM_LANES)), [start, stop]) == whole[start:]


def test_tokens_belong_to_their_rows(manifest: Manifest, reader: BatchReader) -> None:
    """Compare with the same rows read in the order of the file."""
    in_order: dict[int, list[int]] = {}
    for index, address in enumerate(addresses(manifest, manifest.shards("train"))):
        batch = reader.submit([address]).result()
        first = sum(BATCH_ROWS[:index])
        in_order.update(enumerate(batch["input_ids"].to_pylist(), start=first))
    rows = Rows.concatenate(stream(manifest, reader, range(NUM_LANES)).rows(0, NUM_ROWS))
    ends = np.cumsum(rows.lengths_B)
    tokens = np.split(rows.token_ids_T, ends[:-1])
    found = {int(row_id): row.tolist() for row_id, row in zip(rows.row_ids_B, tokens, strict=True)}
    assert found == in_order


def test_nothing_is_held_of_epochs_that_are_over(manifest: Manifest) -> None:
    # One thread: each keeps files open, and which thread reads what is chance.
    reader = BatchReader(manifest, num_threads=1)
    rows = stream(manifest, reader, range(NUM_LANES))
    held = []
    for epoch in range(4):
        rows.rows(epoch * NUM_ROWS, (epoch + 1) * NUM_ROWS)
        held.append(pa.total_allocated_bytes())
    reader.close()
    assert held[0] == held[-1]
