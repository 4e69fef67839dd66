"""One driver at a time writes a run; the lease of a dead one does not last."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from raykd import storage
from raykd.errors import ConfigError
from raykd.train.lease import (
    EXPIRY_SECONDS,
    ORPHAN_SECONDS,
    Lease,
    held_lease,
    read_lease,
    write_lease,
)


@pytest.fixture
def uri(storage_uri: str) -> str:
    return storage.join(storage_uri, "run", "lease.json")


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


def test_the_lease_names_its_holder_and_is_gone_afterwards(uri: str) -> None:
    before = time.time()
    with held_lease(uri, has_workers=False):
        found = read_lease(uri)
        assert found is not None
        assert (found.host, found.process_id) == (socket.gethostname(), os.getpid())
        assert not found.has_workers
        assert before <= found.heartbeat <= time.time()
    assert read_lease(uri) is None


def test_the_lease_is_gone_after_an_error(uri: str) -> None:
    with pytest.raises(ZeroDivisionError), held_lease(uri, has_workers=False):
        raise ZeroDivisionError
    assert not storage.exists(uri)


def test_a_second_driver_is_refused_and_told_who_writes(uri: str) -> None:
    with held_lease(uri, has_workers=False):
        with pytest.raises(ConfigError) as error, held_lease(uri, has_workers=False):
            pass
        for fact in (uri, f"process {os.getpid()} on {socket.gethostname()}", "last seen 0 s ago"):
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
        found = read_lease(uri)
        assert found is not None
        assert found.holder != "another"
    assert read_lease(uri) is None


@pytest.mark.parametrize("host", ["elsewhere", None])
def test_an_expired_lease_is_taken_over(uri: str, host: str | None) -> None:
    write_lease(uri, lease(host=host, silent=EXPIRY_SECONDS + 1))
    with held_lease(uri, has_workers=False):
        found = read_lease(uri)
        assert found is not None
        assert found.holder != "another"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raykd.train.lease.HEARTBEAT_SECONDS", 0.01)


def test_the_lease_is_renewed_while_it_is_held(tmp_path: Path, quick: None) -> None:
    uri = str(tmp_path / "lease.json")
    with held_lease(uri, has_workers=False):
        first = found = read_lease(uri)
        while found == first:
            found = read_lease(uri)
    assert first is not None
    assert found is not None
    assert found == replace(first, heartbeat=found.heartbeat)
    assert found.heartbeat > first.heartbeat


def test_a_driver_whose_lease_was_taken_says_so_and_writes_it_no_more(
    tmp_path: Path, quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    uri = str(tmp_path / "lease.json")
    other = lease()
    with held_lease(uri, has_workers=False):
        (beat,) = [thread for thread in threading.enumerate() if thread.name == "raykd-lease"]
        # Not in the middle of a beat, which would take it back.
        while read_lease(uri) != other or beat.is_alive():
            write_lease(uri, other)
    assert "another driver writes this run, too" in caplog.text
    assert read_lease(uri) == other


def test_a_lease_that_another_driver_took_meanwhile_is_left_to_it(uri: str) -> None:
    other = lease()
    with held_lease(uri, has_workers=False):
        write_lease(uri, other)
    assert read_lease(uri) == other


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"host": "x"}', b"\xff"])
def test_what_is_no_lease_is_named(uri: str, content: bytes) -> None:
    storage.write_bytes(uri, content)
    with pytest.raises(ConfigError, match=r"lease\.json: is no lease: .*; delete it if nothing"):
        read_lease(uri)


def test_a_lease_is_readable_json(uri: str) -> None:
    write_lease(uri, lease(host="here"))
    assert json.loads(storage.read_bytes(uri))["host"] == "here"
