"""Arrow's ranged reads of a store that is disturbed: the right bytes or an error."""

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pytest
from raykd.errors import StorageError
from raykd.storage import uris

from tests.conftest import FaultyS3
from tests.servers.faults import (
    INTERNAL_ERROR,
    SLOW_DOWN,
    Fault,
    Lost,
    Reset,
    Shortened,
    Slow,
    Truncated,
)

NUM_BATCHES = 20
ROWS = 1024


def write_shard(store: FaultyS3) -> str:
    uri = f"{store.uri}/shard.arrow"
    sink = pa.BufferOutputStream()
    schema = pa.schema([("x", pa.int64())])
    with pa.ipc.new_file(sink, schema) as writer:
        for number in range(NUM_BATCHES):
            rows = np.arange(ROWS) + number * ROWS
            writer.write_batch(pa.record_batch([pa.array(rows)], schema=schema))
    uris.write_bytes(uri, sink.getvalue().to_pybytes())
    return uri


def assert_reads_whole(uri: str) -> None:
    with uris.open_arrow(uri) as source:
        reader = pa.ipc.open_file(source)
        for number in reversed(range(NUM_BATCHES)):
            rows = reader.get_batch(number).column("x").to_numpy()
            assert (rows == np.arange(ROWS) + number * ROWS).all()


@pytest.mark.parametrize(
    "fault",
    [SLOW_DOWN, INTERNAL_ERROR, Reset(), Lost(), Truncated(), Shortened(), Slow(seconds=0.2)],
    ids=str,
)
def test_batches_are_right_whatever_request_fails(fault: Fault, faulty_s3: FaultyS3) -> None:
    uri = write_shard(faulty_s3)
    faulty_s3.proxy.inject(fault, on="GetObject")
    faulty_s3.proxy.inject(fault, on="GetObject", skip=5, times=2)
    with uris.retry_for(20):
        assert_reads_whole(uri)
    assert faulty_s3.proxy.count("GetObject", faulty=True) == 3


def test_a_shard_is_read_through_a_restart_of_the_server(faulty_s3: FaultyS3) -> None:
    uri = write_shard(faulty_s3)
    with uris.retry_for(20), uris.open_arrow(uri) as source:
        reader = pa.ipc.open_file(source)
        assert reader.get_batch(0).num_rows == ROWS
        faulty_s3.server.restart()
        assert reader.get_batch(NUM_BATCHES - 1).column("x")[0].as_py() == ROWS * (NUM_BATCHES - 1)


def test_only_what_is_asked_for_is_read(faulty_s3: FaultyS3) -> None:
    uri = write_shard(faulty_s3)
    with uris.open_arrow(uri) as source:
        reader = pa.ipc.open_file(source)
        faulty_s3.proxy.forget()
        reader.get_batch(3)
    assert faulty_s3.proxy.counts() == {"GetObject": 1}


@pytest.mark.parametrize("fault", [Shortened(), Truncated()], ids=type)
def test_ranges_that_stay_short_are_an_error(fault: Fault, faulty_s3: FaultyS3) -> None:
    uri = write_shard(faulty_s3)
    faulty_s3.proxy.inject(fault, on="GetObject", times=None)
    with uris.retry_for(0.5), pytest.raises(StorageError, match=r"shard\.arrow: "):
        assert_reads_whole(uri)
