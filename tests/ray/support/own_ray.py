"""Rays of tests that are started with ``ray start``: on loopback, with ports and a token.

All processes of such a Ray have its token or its directory in their environment or command line.
So all of them are found when it ends, and none of another Ray.
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
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil

from tests.servers.ports import HOST, number_of, reserve_port

LIMIT_SECONDS = 240.0
"""For whatever a test waits for: a machine that does other things too is slow."""

_POLL_SECONDS = 0.2
_STARTS = 4
_TOKEN = "RAY_AUTH_TOKEN"  # noqa: S105  the name of a variable


class OwnRay:
    """A head, and the programs that are started beside it."""

    def __init__(self, directory: Path, ports: Sequence[int]) -> None:
        self._port, self._dashboard, self._agent, self._client = ports
        self.directory = directory
        self.address = f"{HOST}:{self._port}"
        self.job_server = f"http://{HOST}:{self._dashboard}"
        self.token = secrets.token_hex(32)
        program = Path(sys.executable).with_name("ray")
        self._ray_start = (str(program), "start", "--disable-usage-stats")
        # What other tests have set for the Ray of this process is not for this one.
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("RAY_", "GLOO_"))
        } | {
            "RAY_AUTH_MODE": "token",
            _TOKEN: self.token,
            # Else it takes the address of this machine, whatever it is told.
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            "RAY_memory_monitor_refresh_ms": "0",
            # Else what trains gets nothing of a machine that does other things too.
            "RAY_worker_niceness": "0",
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
            # What jobs call python is this one.
            "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        }
        self._started: list[subprocess.Popen[bytes]] = []

    def start_head(
        self, *arguments: str, num_cpus: int, environment: Mapping[str, str] | None = None
    ) -> None:
        """Start the head, with more arguments and more in its environment.

        Ray gives its processes half a minute to come up, however busy the machine is; a head that
        has not is ended, and started again.
        """
        command = (
            *(*self._ray_start, "--head", f"--num-cpus={num_cpus}", f"--node-ip-address={HOST}"),
            *(f"--port={self._port}", f"--ray-client-server-port={self._client}"),
            *(f"--dashboard-host={HOST}", f"--dashboard-port={self._dashboard}"),
            *(f"--dashboard-agent-listen-port={self._agent}", f"--temp-dir={self.directory}/ray"),
            *("--min-worker-port=0", "--max-worker-port=0", *arguments),
        )
        for _ in range(_STARTS):
            with self.log.open("ab") as log:
                finished = subprocess.run(
                    command,
                    env=self.environment | dict(environment or {}),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    # Ctrl-C of whoever tests is not for it.
                    start_new_session=True,
                    check=False,
                )
            if finished.returncode == 0:
                return
            self._end_processes()
        message = f"{command}\n{self._printed()}"
        raise AssertionError(message)

    def start(self, *command: str) -> None:
        """Start a program that runs until the end of this Ray; it prints to ``log``."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._started.append(process)

    @property
    def log(self) -> Path:
        """What all programs printed."""
        return self.directory / "log"

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
        """End everything."""
        for process in self._started:
            process.kill()
            process.wait()
        self._end_processes()

    def _end_processes(self) -> None:
        while left := [process for process in psutil.process_iter() if self._is_own(process)]:
            for process in left:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(left, timeout=10)

    def _is_own(self, process: psutil.Process) -> bool:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            # What changes its title loses one or the other.
            is_named = any(str(self.directory) in part for part in process.cmdline())
            return is_named or process.environ().get(_TOKEN) == self.token
        except psutil.Error:
            return False

    def _printed(self) -> str:
        return self.log.read_text()[-5_000:]


@contextmanager
def own_ray() -> Iterator[OwnRay]:
    """Give a Ray whose head is to be started; everything ends with the block."""
    # Short: the names of Unix sockets below it have at most 107 characters.
    directory = Path(tempfile.mkdtemp(prefix="rk", dir="/tmp"))
    with ExitStack() as reserved:
        ray = OwnRay(
            directory, [number_of(reserved.enter_context(reserve_port())) for _ in range(4)]
        )
        try:
            yield ray
        finally:
            ray.close()
            shutil.rmtree(directory)
