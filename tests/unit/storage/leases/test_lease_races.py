"""Of many drivers that want one lease at once, one holds it at a time, whoever dies."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from moto.s3.responses import S3Response
from raykd.storage import uris
from raykd.storage.leases.lease import held_lease
from raykd.storage.leases.records import read_lease, write_lease
from raykd.storage.remote.probe import creates_exclusively

from tests.unit.storage.leases.test_lease import dead_process_id, files_of_lease, holder, lease


@pytest.fixture
def atomic_puts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the test's server look and write in one step, as S3 does."""
    lock, put = threading.Lock(), S3Response.put_object

    def put_alone(response: S3Response) -> Any:
        with lock:
            return put(response)

    monkeypatch.setattr(S3Response, "put_object", put_alone)


@pytest.fixture(params=["local", "conditional", "unconditional"])
def storage_uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return a place on this machine, in S3, and in S3 without conditional requests."""
    fixtures = {"conditional": "s3_uri", "unconditional": "rclone_uri"}
    if request.param == "local":
        return str(tmp_path / "store")
    uri: str = request.getfixturevalue(fixtures[request.param])
    assert creates_exclusively(f"{uri}/x") is (request.param == "conditional")
    return uri


@pytest.mark.parametrize("is_taken_over", [True, False])
def test_threads_never_hold_one_lease_at_once(
    storage_uri: str,
    atomic_puts: None,
    monkeypatch: pytest.MonkeyPatch,
    is_taken_over: bool,
) -> None:
    monkeypatch.setattr("raykd.storage.leases.lease.POLL_SECONDS", 0.01)
    monkeypatch.setattr("raykd.storage.leases.lease.REMOTE_POLL_SECONDS", 0.2)
    uri = uris.join(storage_uri, "run", "lease.json")
    if is_taken_over:
        write_lease(uri, lease(process_id=dead_process_id(), workers=False))
    together, alone = threading.Barrier(8), threading.Lock()

    def drive(_: int) -> bool:
        together.wait()
        with held_lease(uri, has_workers=False, waits=True):
            is_alone = alone.acquire(blocking=False)
            assert holder(uri) is not None
            alone.release()
        return is_alone

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(drive, range(8)))
    assert files_of_lease(uri) == []


@contextmanager
def drivers(uri: str, number: int) -> Iterator[subprocess.Popen[bytes]]:
    """Start processes that want the lease, and end them with the block."""
    program = Path(__file__).with_name("lease_drivers.py")
    with subprocess.Popen(
        [sys.executable, str(program), uri, str(number)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def line(process: subprocess.Popen[bytes]) -> tuple[str, int]:
    """Return what a driver says next, and its process id."""
    assert process.stdout is not None
    word, process_id = process.stdout.readline().split()
    return word.decode(), int(process_id)


def go_on(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.write(b".")


@pytest.mark.parametrize("is_taken_over", [True, False])
@pytest.mark.parametrize(
    ("storage_uri", "count"), [("local", 8), ("unconditional", 4)], indirect=["storage_uri"]
)
def test_processes_hold_one_lease_in_turn(
    storage_uri: str, count: int, is_taken_over: bool
) -> None:
    uri = uris.join(storage_uri, "run", "lease.json")
    if is_taken_over:
        write_lease(uri, lease(process_id=dead_process_id(), workers=False))
    with drivers(uri, count) as process:
        said = [line(process) for _ in range(count)]
        # One is in, the others wait: none of them says more before the one goes on.
        assert sorted(word for word, _ in said) == ["in"] + ["waiting"] * (count - 1)
        (inside,) = [process_id for word, process_id in said if word == "in"]
        held = [inside]
        for _ in range(count - 1):
            go_on(process)
            assert line(process) == ("out", held[-1])
            word, process_id = line(process)
            assert word == "in"
            held.append(process_id)
        go_on(process)
        assert line(process) == ("out", held[-1])
        assert process.wait() == 0
    assert len(set(held)) == count
    assert files_of_lease(uri) == []


@pytest.mark.parametrize("storage_uri", ["local", "unconditional"], indirect=True)
def test_one_of_the_waiting_drivers_follows_a_killed_one(storage_uri: str) -> None:
    uri = uris.join(storage_uri, "run", "lease.json")
    with drivers(uri, 3) as process:
        said = [line(process) for _ in range(3)]
        assert sorted(word for word, _ in said) == ["in", "waiting", "waiting"]
        held = [process_id for word, process_id in said if word == "in"]
        for _ in range(2):
            os.kill(held[-1], signal.SIGKILL)
            word, process_id = line(process)
            assert word == "in"
            newest = read_lease(uri)
            assert newest is not None
            assert newest.process_id == process_id
            held.append(process_id)
        go_on(process)
        assert line(process) == ("out", held[-1])
        assert process.wait() == 0
    assert sorted(held) == sorted(process_id for _, process_id in said)
    assert files_of_lease(uri) == []
