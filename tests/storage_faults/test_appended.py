"""What a growing file has given to a store stays, whenever writer and server are killed."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from raykd.errors import StorageDeniedError, StorageError
from raykd.runs import append_log
from raykd.runs.append_log import AppendedFile
from raykd.storage import uris

from tests.conftest import FaultyS3
from tests.servers.faults import DENIED

NUM_KILLS = 12
LONGEST_SECONDS = 0.3


def write_until_the_store_is_gone(uri: str) -> bytes:
    """Go on where an earlier writer was ended; return what the store has taken."""
    taken = append_log.read_bytes(uri)
    file = AppendedFile(uri, content=taken)
    with uris.retry_for(0):
        while True:
            line = b"%07d\n" % (len(taken) // 8)
            file.append(line)
            try:
                file.flush()
            except StorageError:
                return taken
            taken += line


def test_nothing_is_lost_where_the_server_is_killed_while_it_is_written(
    faulty_s3: FaultyS3,
) -> None:
    uri = f"{faulty_s3.uri}/run/metrics.jsonl"
    chance, wait = random.Random(17), threading.Event().wait
    for _ in range(NUM_KILLS):
        with ThreadPoolExecutor(1) as pool:
            before = append_log.size_bytes(uri)
            writing = pool.submit(write_until_the_store_is_gone, uri)
            while append_log.size_bytes(uri) == before:
                assert not writing.done(), writing.result()
            wait(chance.uniform(0, LONGEST_SECONDS))
            faulty_s3.server.kill()
            taken = writing.result()
        faulty_s3.server.start()
        assert append_log.read_bytes(uri)[: len(taken)] == taken
    content = append_log.read_bytes(uri)
    assert content == b"".join(b"%07d\n" % number for number in range(len(content) // 8))


def test_what_is_closed_for_good_is_not_replaced_where_it_is_opened_again(
    faulty_s3: FaultyS3,
) -> None:
    uri = f"{faulty_s3.uri}/run/metrics.jsonl"
    for _ in range(2):
        file = AppendedFile(uri, content=append_log.read_bytes(uri))
        if not append_log.exists(uri):
            file.append(b"1\n")
        file.close(is_done=True)
    assert append_log.read_bytes(uri) == b"1\n"
    assert faulty_s3.proxy.count("PutObject .*/metrics.jsonl") == 1


def test_what_a_store_refuses_reaches_who_writes(faulty_s3: FaultyS3) -> None:
    file = AppendedFile(f"{faulty_s3.uri}/run/metrics.jsonl", content=b"")
    file.append(b"1\n")
    faulty_s3.proxy.inject(DENIED, on="PutObject")
    with pytest.raises(StorageDeniedError):
        file.flush()
    file.flush()
    assert append_log.read_bytes(f"{faulty_s3.uri}/run/metrics.jsonl") == b"1\n"
