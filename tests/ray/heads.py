"""The head of a Ray cluster as a user starts it: a process, on loopback and ports of its own."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.ray.sweep_drivers import wait_until
from tests.servers.ports import HOST, number_of, reserve_port

_END_SECONDS = 20.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """A head that runs."""

    address: str
    """Of its job server."""

    token: str
    directory: Path
    """What its processes write; their command lines name it."""


@contextmanager
def ray_head(*, num_cpus: int) -> Iterator[Head]:
    """Run ``ray start --head``, which asks for a token, while the block runs."""
    # Short: the names of Unix sockets below it have at most 107 characters.
    directory = Path(tempfile.mkdtemp(prefix="rh", dir="/tmp"))
    token = secrets.token_hex(32)
    reserved = [reserve_port() for _ in range(4)]
    port, dashboard, agent, client = (number_of(each) for each in reserved)
    for each in reserved:
        each.close()
    log = directory / "log"
    program = Path(sys.executable).with_name("ray")
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [
                *(str(program), "start", "--head", "--block", "--disable-usage-stats"),
                *(f"--node-ip-address={HOST}", f"--port={port}", f"--num-cpus={num_cpus}"),
                *(f"--dashboard-host={HOST}", f"--dashboard-port={dashboard}"),
                *(f"--dashboard-agent-listen-port={agent}", f"--temp-dir={directory}"),
                *(f"--ray-client-server-port={client}", "--object-store-memory=200000000"),
                *("--min-worker-port=0", "--max-worker-port=0"),
            ],
            stdout=stream,
            stderr=stream,
            env=os.environ
            | {
                "RAY_AUTH_MODE": "token",
                "RAY_AUTH_TOKEN": token,
                "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
                "RAY_memory_monitor_refresh_ms": "0",
                # What jobs call python is this one.
                "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
            },
            start_new_session=True,
        )
    try:
        # It listens long before: should its node come too late, the head gives up.
        wait_until(lambda: "Ray runtime started" in log.read_text(), process)
        yield Head(address=f"http://{HOST}:{dashboard}", token=token, directory=directory)
        assert process.poll() is None, f"the head has ended by itself:\n{log.read_text()[-5_000:]}"
    finally:
        _end(process, directory)
        shutil.rmtree(directory, ignore_errors=True)


def _end(process: "subprocess.Popen[bytes]", directory: Path) -> None:
    """End the head and whatever names its directory, and no other Ray of this machine."""
    process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_END_SECONDS)
    while left := list(_processes_of(directory)):
        for each in left:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        psutil.wait_procs(left, timeout=_END_SECONDS)
    process.kill()
    process.wait()


def _processes_of(directory: Path) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            named = any(str(directory) in part for part in process.cmdline())
            if named and process.status() != psutil.STATUS_ZOMBIE:
                yield process
