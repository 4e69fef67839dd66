"""On a store that overwrites what it was to create, drivers hold an election."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from raykd.storage import uris
from raykd.storage.leases.acquire import try_acquire
from raykd.storage.leases.lease import held_lease
from raykd.storage.leases.records import EXPIRY_SECONDS, candidate_uri, write_lease
from raykd.storage.remote.probe import creates_exclusively

from tests.conftest import FaultyS3
from tests.servers.faults import Hold
from tests.unit.storage.leases.test_lease import (
    dead_process_id,
    files_of_lease,
    holder,
    lease,
    patient,
)


@pytest.fixture
def uri(rclone_uri: str) -> str:
    return uris.join(rclone_uri, "run", "lease.json")


def test_the_store_of_these_tests_overwrites(uri: str) -> None:
    assert not creates_exclusively(uri)
    assert uris.create_bytes(uri, b"first")
    assert uris.create_bytes(uri, b"second")


@pytest.mark.parametrize("silent", [0.0, EXPIRY_SECONDS + 1], ids=["killed here", "silent"])
def test_a_candidate_that_died_bars_nobody(uri: str, silent: float) -> None:
    process_id = dead_process_id() if silent == 0 else None
    dead = replace(lease(process_id=process_id, silent=silent), holder="0")
    write_lease(candidate_uri(uri, dead), dead)
    with held_lease(uri, has_workers=False):
        assert files_of_lease(uri) == ["lease.json"]
    assert files_of_lease(uri) == []


def test_who_sees_an_earlier_candidate_is_not_elected(uri: str) -> None:
    first, second = (replace(lease(), holder=name) for name in "ab")
    write_lease(candidate_uri(uri, first), first)
    assert not try_acquire(uri, second, patient(uri), after=[])
    assert files_of_lease(uri) == ["lease.json.wants.a"]


def test_who_was_a_candidate_for_too_long_is_not_elected(uri: str) -> None:
    late = lease(silent=EXPIRY_SECONDS / 2)
    assert not try_acquire(uri, late, patient(uri), after=[])
    assert files_of_lease(uri) == []


def test_a_late_candidate_sees_who_took_the_lease(uri: str) -> None:
    write_lease(uri, lease())
    assert not try_acquire(uri, replace(lease(), holder="late"), patient(uri), after=[])
    assert holder(uri) == "another"
    assert files_of_lease(uri) == ["lease.json"]


@pytest.mark.parametrize(("slow", "quick"), ["ab", "ba"])
def test_of_two_that_come_at_once_one_is_elected(
    faulty_s3: FaultyS3, slow: str, quick: str
) -> None:
    uri = uris.join(faulty_s3.uri, "run", "lease.json")
    assert not creates_exclusively(uri)
    # The slow one has looked and found nobody; what it writes then comes late.
    hold = Hold()
    faulty_s3.proxy.inject(hold, on=f"PutObject .*wants[.]{slow}")
    with ThreadPoolExecutor() as pool:
        late = pool.submit(try_acquire, uri, replace(lease(), holder=slow), patient(uri), after=[])
        assert hold.reached.wait(60)
        assert try_acquire(uri, replace(lease(), holder=quick), patient(uri), after=[])
        hold.released.set()
        assert not late.result()
    assert holder(uri) == quick
    assert files_of_lease(uri) == ["lease.json"]


def test_of_two_candidates_the_first_in_order_is_elected(
    faulty_s3: FaultyS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = uris.join(faulty_s3.uri, "run", "lease.json")
    assert not creates_exclusively(uri)
    # Both have written that they want the lease before either looks.
    holds = {name: Hold() for name in "ab"}
    for name, hold in holds.items():
        faulty_s3.proxy.inject(hold, on=f"PutObject .*wants[.]{name}")
    with ThreadPoolExecutor() as pool:
        both = {
            name: pool.submit(
                try_acquire, uri, replace(lease(), holder=name), patient(uri), after=[]
            )
            for name in "ab"
        }
        for hold in holds.values():
            assert hold.reached.wait(60)
        holds["a"].released.set()
        holds["b"].released.set()
        assert sum(taken.result() for taken in both.values()) == 1
    assert files_of_lease(uri) == ["lease.json"]


def test_a_store_that_is_away_holds_up_neither_beat_nor_end(
    faulty_s3: FaultyS3, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("raykd.storage.leases.lease.HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setattr("raykd.storage.leases.lease._RETRY_SECONDS", 0.05)
    uri = uris.join(faulty_s3.uri, "run", "lease.json")
    with held_lease(uri, has_workers=False) as held:
        with faulty_s3.proxy.outage():
            _wait_for(lambda: "the lease was not renewed" in caplog.text)
        caplog.clear()
        before = faulty_s3.proxy.count("PutObject .*lease.json")
        _wait_for(lambda: faulty_s3.proxy.count("PutObject .*lease.json") > before + 1)
        assert not held.is_lost
        faulty_s3.proxy.stop()
    assert "the lease stays behind" in caplog.text
    faulty_s3.proxy.start()
    assert files_of_lease(uri) == ["lease.json"]


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
