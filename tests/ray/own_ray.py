"""Rays of tests that are started with ``ray start``: by address, and ended by process id.

Such a Ray has a directory of its own, which the command line of each of its processes names. So
all of them are found, and none of another Ray.
"""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

LIMIT_SECONDS = 240.0
"""For whatever a test waits for: a machine that does other things too is slow."""

_POLL_SECONDS = 0.2
_STARTS = 4


class OwnRay:
    """A directory, a token, and the processes that are started with both."""

    def __init__(self) -> None:
        # Short: the names of Unix sockets below it have at most 107 characters.
        self.directory = Path(tempfile.mkdtemp(prefix="rk", dir="/tmp"))
        # What other tests have set for the Ray of this process is not for this one.
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("RAY_", "GLOO_"))
        } | {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(16),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_memory_monitor_refresh_ms": "0",
            # Else what trains gets nothing of a machine that does other things too.
            "RAY_worker_niceness": "0",
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
        }
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, *command: str) -> None:
        """Start a program that runs until the end of this Ray; it prints to ``log``."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._started.append(process)

    def start_node(self, *command: str, environment: Mapping[str, str] | None = None) -> None:
        """Run what starts a node, with more in its environment; it prints to ``log``.

        Ray gives its processes half a minute to come up, however busy the machine is; what has
        not is ended, and started again.
        """
        before = self.processes()
        for _ in range(_STARTS):
            with self.log.open("ab") as log:
                finished = subprocess.run(
                    command,
                    env=self.environment | dict(environment or {}),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    check=False,
                )
            if finished.returncode == 0:
                return
            _end([process for process in self.processes() if process not in before])
        message = f"{command}\n{self._printed()}"
        raise AssertionError(message)

    @property
    def log(self) -> Path:
        """What all programs printed."""
        return self.directory / "log"

    def processes(self) -> list[psutil.Process]:
        """Return the processes that name the directory of this Ray and live."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                named = any(str(self.directory) in part for part in process.cmdline())
                if named and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for something; what this Ray printed is the message where it does not come."""
        end = time.monotonic() + LIMIT_SECONDS
        pause = threading.Event()
        while not condition():
            ended = [process.args for process in self._started if process.poll() is not None]
            assert not ended, f"{what}: {ended} ended\n{self._printed()}"
            assert time.monotonic() < end, f"{what}: not yet\n{self._printed()}"
            pause.wait(_POLL_SECONDS)

    def close(self) -> None:
        """End everything, and remove what it left."""
        for process in self._started:
            process.kill()
            process.wait()
        while left := self.processes():
            _end(left)
        shutil.rmtree(self.directory)

    def _printed(self) -> str:
        return self.log.read_text()[-5_000:]


def _end(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=10)


@contextmanager
def own_ray() -> Iterator[OwnRay]:
    """Give a Ray that no process is of yet; all of them end with the block."""
    ray = OwnRay()
    try:
        yield ray
    finally:
        ray.close()


def ray_start() -> tuple[str, ...]:
    """Return what starts a node of a Ray; it ends when the node is there."""
    return (str(Path(sys.executable).with_name("ray")), "start", "--disable-usage-stats")
