"""One driver at a time writes a run; the lease of a dead one does not last."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from moto.s3.responses import S3Response
from raykd.errors import ConfigError
from raykd.storage import uris
from raykd.storage.leases.acquire import ORPHAN_SECONDS, Wait, try_acquire
from raykd.storage.leases.lease import held_lease
from raykd.storage.leases.records import EXPIRY_SECONDS, Lease, read_lease, write_lease
from raykd.storage.remote.probe import creates_exclusively


@pytest.fixture
def uri(storage_uri: str) -> str:
    return uris.join(storage_uri, "run", "lease.json")


def dead_process_id() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def lease(
    *,
    host: str | None = None,
    process_id: int | None = None,
    silent: float = 0.0,
    workers: bool = True,
) -> Lease:
    """Return the lease of another driver: this very process, unless said otherwise."""
    return Lease(
        holder="another",
        host=host or socket.gethostname(),
        process_id=process_id or os.getpid(),
        has_workers=workers,
        heartbeat=time.time() - silent,
    )


def patient(uri: str) -> Wait:
    return Wait(uri=uri, is_patient=True, on_wait=None)


def test_the_lease_names_its_holder_and_is_gone_afterwards(uri: str) -> None:
    before = time.time()
    with held_lease(uri, has_workers=False):
        held = read_lease(uri)
        assert held is not None
        assert (held.host, held.process_id) == (socket.gethostname(), os.getpid())
        assert not held.has_workers
        assert before <= held.heartbeat <= time.time()
    assert read_lease(uri) is None


def test_the_lease_is_gone_after_an_error(uri: str) -> None:
    with pytest.raises(ZeroDivisionError), held_lease(uri, has_workers=False):
        raise ZeroDivisionError
    assert not uris.exists(uri)


def test_a_second_driver_is_refused_and_told_who_writes(uri: str) -> None:
    with held_lease(uri, has_workers=False):
        with pytest.raises(ConfigError) as error, held_lease(uri, has_workers=False):
            pass
        for fact in (uri, f"process {os.getpid()} on {socket.gethostname()}, last seen "):
            assert fact in str(error.value)
        assert read_lease(uri) is not None
    with held_lease(uri, has_workers=False):
        pass


@pytest.mark.parametrize(
    ("host", "process_id", "silent"),
    [
        ("elsewhere", 1, 0),
        ("elsewhere", 1, EXPIRY_SECONDS / 2),
        (None, 1, 0),
        (None, None, -1_000),
    ],
    ids=["on another machine", "silent for a while", "of another user", "with another clock"],
)
def test_a_live_driver_keeps_its_lease(
    uri: str, host: str | None, process_id: int | None, silent: float
) -> None:
    other = lease(host=host, process_id=process_id, silent=silent)
    write_lease(uri, other)
    with (
        pytest.raises(ConfigError, match="is being written by"),
        held_lease(uri, has_workers=True),
    ):
        pass
    assert read_lease(uri) == other


@pytest.mark.parametrize(
    ("workers", "silent"), [(False, 0), (True, ORPHAN_SECONDS + 1)], ids=["alone", "with workers"]
)
def test_the_lease_of_a_driver_that_died_here_is_taken_over(
    uri: str, workers: bool, silent: float
) -> None:
    write_lease(uri, lease(process_id=dead_process_id(), workers=workers, silent=silent))
    with held_lease(uri, has_workers=False):
        held = read_lease(uri)
        assert held is not None
        assert held.holder != "another"
    assert read_lease(uri) is None


@pytest.mark.parametrize("host", ["elsewhere", None])
def test_an_expired_lease_is_taken_over(uri: str, host: str | None) -> None:
    write_lease(uri, lease(host=host, silent=EXPIRY_SECONDS + 1))
    with held_lease(uri, has_workers=False):
        held = read_lease(uri)
        assert held is not None
        assert held.holder != "another"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raykd.storage.leases.lease.HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setattr("raykd.storage.leases.lease.POLL_SECONDS", 0.01)
    monkeypatch.setattr("raykd.storage.leases.lease.REMOTE_POLL_SECONDS", 0.2)


def test_the_lease_is_renewed_while_it_is_held(tmp_path: Path, quick: None) -> None:
    uri = str(tmp_path / "lease.json")
    with held_lease(uri, has_workers=False):
        first = held = read_lease(uri)
        while held == first:
            held = read_lease(uri)
    assert first is not None
    assert held is not None
    assert held == replace(first, heartbeat=held.heartbeat)
    assert held.heartbeat > first.heartbeat


def test_a_driver_whose_lease_was_taken_says_so_and_writes_it_no_more(
    tmp_path: Path, quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    uri = str(tmp_path / "lease.json")
    other = lease()
    with held_lease(uri, has_workers=False) as held:
        (beat,) = [thread for thread in threading.enumerate() if thread.name == "raykd-lease"]
        # Not in the middle of a beat, which would take it back.
        while read_lease(uri) != other or beat.is_alive():
            write_lease(uri, other)
        assert held.is_lost
    assert "is taken by another driver, or gone: this one stops" in caplog.text
    assert read_lease(uri) == other


def test_a_lease_that_another_driver_took_meanwhile_is_left_to_it(uri: str) -> None:
    other = lease()
    with held_lease(uri, has_workers=False):
        write_lease(uri, other)
    assert read_lease(uri) == other


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"host": "x"}', b"\xff"])
def test_what_is_no_lease_is_named(uri: str, content: bytes) -> None:
    uris.write_bytes(uri, content)
    with pytest.raises(ConfigError, match=r"lease\.json: is no lease: .*; delete it if nothing"):
        read_lease(uri)


def test_a_lease_is_readable_json(uri: str) -> None:
    write_lease(uri, lease(host="here"))
    assert json.loads(uris.read_bytes(uri))["host"] == "here"


def files_of_lease(uri: str) -> list[str]:
    """Return what lies beside the lease, itself included."""
    return uris.list_names(uri.rpartition("/")[0])


def holder(uri: str) -> str | None:
    held = read_lease(uri)
    return held.holder if held else None


def write_successor(uri: str, dead: Lease, successor: Lease) -> None:
    write_lease(f"{uri}.after.{dead.holder}", successor)


def test_a_waiting_driver_is_told_for_whom_and_goes_on_when_the_lease_is_free(
    uri: str, quick: None
) -> None:
    told: list[str] = []
    is_waiting = threading.Event()

    def on_wait(message: str) -> None:
        told.append(message)
        is_waiting.set()

    def drive() -> str | None:
        with held_lease(uri, has_workers=False, waits=True, on_wait=on_wait):
            return holder(uri)

    with ThreadPoolExecutor() as pool:
        with held_lease(uri, has_workers=False):
            first = holder(uri)
            second = pool.submit(drive)
            assert is_waiting.wait(60)
            assert holder(uri) == first
        assert second.result() not in (first, None)
    (message,) = told
    assert f"process {os.getpid()} on {socket.gethostname()}, last seen" in message
    assert files_of_lease(uri) == []


def test_a_holder_whose_clock_is_ahead_is_not_waited_for_for_ever(
    uri: str, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raykd.storage.leases.acquire.EXPIRY_SECONDS", 0.1)
    write_lease(uri, lease(host="elsewhere", silent=-1e9))
    with held_lease(uri, has_workers=False, waits=True):
        pass
    assert files_of_lease(uri) == []


def test_workers_of_a_driver_that_died_here_are_waited_for(
    uri: str, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raykd.storage.leases.acquire.ORPHAN_SECONDS", 0.1)
    # Its clock is ahead, so that however slow this test is, there is some time left to wait.
    write_lease(uri, lease(process_id=dead_process_id(), workers=True, silent=-1_000))
    told: list[str] = []
    with held_lease(uri, has_workers=False, on_wait=told.append):
        assert len(told) == 1
    assert files_of_lease(uri) == []


def test_a_driver_that_died_in_a_takeover_is_followed(uri: str) -> None:
    process_id = dead_process_id()
    first, second, third = (
        replace(lease(process_id=process_id, workers=False), holder=name) for name in "abc"
    )
    write_lease(uri, first)
    write_successor(uri, first, second)
    write_successor(uri, second, third)
    with held_lease(uri, has_workers=False):
        assert holder(uri) not in ("a", "b", "c", None)
    assert files_of_lease(uri) == []


def test_a_live_driver_in_a_takeover_holds_the_lease(uri: str) -> None:
    dead = replace(lease(process_id=dead_process_id(), workers=False), holder="dead")
    write_lease(uri, dead)
    write_successor(uri, dead, lease(host="elsewhere"))
    with (
        pytest.raises(ConfigError, match=r"written by process .* on elsewhere"),
        held_lease(uri, has_workers=False),
    ):
        pass
    assert read_lease(uri) == dead


@pytest.mark.parametrize("is_released", [True, False])
def test_a_takeover_that_comes_too_late_leaves_nothing(uri: str, is_released: bool) -> None:
    dead, late = replace(lease(), holder="dead"), replace(lease(), holder="late")
    write_lease(uri, lease())
    if is_released:
        uris.delete(uri)
    names = files_of_lease(uri)
    assert not try_acquire(uri, late, patient(uri), after=[dead])
    assert files_of_lease(uri) == names


def test_a_driver_that_saw_no_lease_replaces_none(uri: str) -> None:
    write_lease(uri, lease())
    assert not try_acquire(uri, replace(lease(), holder="late"), patient(uri), after=[])
    assert holder(uri) == "another"


def test_a_dead_driver_has_one_successor(uri: str) -> None:
    dead = replace(lease(), holder="dead")
    write_lease(uri, dead)
    write_successor(uri, dead, lease())
    assert not try_acquire(uri, replace(lease(), holder="late"), patient(uri), after=[dead])
    assert holder(uri) == "dead"
    assert holder(f"{uri}.after.dead") == "another"


def test_what_dead_drivers_left_goes_with_the_release(uri: str) -> None:
    write_successor(uri, replace(lease(), holder="dead"), lease())
    uris.write_bytes(f"{uri.rpartition('/')[0]}/result.json", b"")
    with held_lease(uri, has_workers=False):
        pass
    assert files_of_lease(uri) == ["result.json"]


def test_a_lease_whose_creation_was_not_answered_is_held(
    s3_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = uris.join(s3_uri, "run", "lease.json")
    put = S3Response.put_object
    statuses: list[int] = []
    assert creates_exclusively(uri)

    def fail_after(response: S3Response) -> Any:
        monkeypatch.setattr(S3Response, "put_object", put)
        statuses.append(put(response)[0])
        return 500, {}, "<Error><Code>InternalError</Code></Error>"

    monkeypatch.setattr(S3Response, "put_object", fail_after)
    with held_lease(uri, has_workers=False):
        assert statuses == [200]
    assert files_of_lease(uri) == []
