"""Ports of the loopback interface that stay a server's own while it is down."""

import socket
import subprocess
import threading
from pathlib import Path

_POLL_SECONDS = 0.02

HOST = "127.0.0.1"


class ServerDownError(Exception):
    """A server did not start to answer; the message ends with what it wrote."""


def reserve_port() -> socket.socket:
    """Bind a free port without listening on it, so that connections to it are refused.

    A server that sets SO_REUSEADDR, as nearly all do, can listen on it beside this socket, as
    often as it restarts; other processes are given other ports.
    """
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind((HOST, 0))
    return reserved


def number_of(reserved: socket.socket) -> int:
    """Return the port that a socket is bound to."""
    return int(reserved.getsockname()[1])


def wait_until_listening(
    port: int, process: subprocess.Popen[bytes], log: Path, *, limit_seconds: float = 30.0
) -> None:
    """Return once connections to a port are accepted.

    Raises:
        ServerDownError: The process has ended, or the limit has passed.
    """
    pause = threading.Event()
    for _ in range(int(limit_seconds / _POLL_SECONDS)):
        if process.poll() is not None:
            break
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        pause.wait(_POLL_SECONDS)
    message = f"{process.args!r}: does not listen on port {port}:\n{log.read_text()[-2000:]}"
    raise ServerDownError(message)
