"""Garbage as it really comes about: writers that are killed in the middle."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from raykd.storage import uris

from tests.conftest import FaultyS3
from tests.servers.faults import Hold

CHECKPOINT = "checkpoints/step-00000010"

_POLL_SECONDS = 0.05


def killed_while_writing(uri: str, kind: str) -> None:
    """Have a process killed after it has written its files aside."""
    with _writer(uri, kind, 1_000, "self") as process:
        assert process.wait() == -signal.SIGKILL


def killed_while_uploading(
    store: FaultyS3, uri: str, kind: str, *, on: str, num_bytes: int
) -> None:
    """Have a process killed while it waits for the answer to a request, which is never sent.

    What it uploads beside that file has arrived.
    """
    hold = Hold()
    store.proxy.inject(hold, on=on)
    with _writer(uri, kind, num_bytes) as process:
        assert hold.reached.wait(60)
        pause = threading.Event()
        while not uris.list_files(uri):
            assert process.poll() is None
            pause.wait(_POLL_SECONDS)
        process.kill()


def run_at(uri: str) -> str:
    """Make a directory the one of a run."""
    uris.write_bytes(uris.join(uri, "run.yaml"), b"name: x\n")
    return uri


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have a place for temporary files that no other test uses."""
    path = tmp_path / "temporary"
    path.mkdir()
    monkeypatch.setenv("TMPDIR", str(path))
    monkeypatch.setattr("tempfile.tempdir", str(path))
    return path


@contextmanager
def _writer(*arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    program = Path(__file__).with_name("killed_writer.py")
    command = [sys.executable, str(program), *map(str, arguments)]
    with subprocess.Popen(command) as process:
        try:
            yield process
        finally:
            process.kill()
