"""Shell scripts pass the linter, and a machine that is taken away says so."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.cluster.files import CLUSTER, ROOT

SHELLCHECK = Path(sys.executable).with_name("shellcheck")
LEAVE = CLUSTER / "announce_leave.sh"
SCRIPTS = [
    path
    for path in (*ROOT.glob(".ci/*"), *CLUSTER.glob("*.sh"), *ROOT.glob("tests/**/*.sh"))
    if path.read_text().startswith("#!/")
]


def complaints(text: str) -> list[str]:
    """Return the rules that a script breaks."""
    command = [str(SHELLCHECK), "--norc", "--enable=check-set-e-suppressed", "--format=gcc", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return re.findall(r"\[(SC\d+)\]", done.stdout)


def test_all_scripts_are_found() -> None:
    names = {str(path.relative_to(ROOT)) for path in SCRIPTS}
    assert {".ci/run", "cluster/slurm.sh", "tests/install.sh"} <= names


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_the_linter_finds_nothing(path: Path) -> None:
    done = subprocess.run(
        [str(SHELLCHECK), str(path)], capture_output=True, text=True, check=False
    )
    assert done.stdout == ""
    assert path.stat().st_mode & 0o111, "it cannot be run"


@pytest.mark.parametrize(
    ("line", "rule"),
    [("rm -r $1", "SC2086"), ("cd /tmp/$(hostname)", "SC2164"), ("echo $unknown_name", "SC2154")],
)
def test_the_linter_would_find_a_mistake(line: str, rule: str) -> None:
    assert rule in complaints(f"#!/bin/bash\n{line}\n")


class Metadata(BaseHTTPRequestHandler):
    """The instance metadata of a spot machine that is taken away after some questions."""

    asked: list[str]
    questions_before_notice = 2

    def do_PUT(self) -> None:
        self._answer(200, "a session")

    def do_GET(self) -> None:
        self.asked.append(self.path)
        is_taken = len(self.asked) > self.questions_before_notice
        if "preempted" in self.path:
            known = self.headers["Metadata-Flavor"] == "Google"
            self._answer(200 if known else 403, "TRUE" if is_taken else "FALSE")
        else:
            known = self.headers["X-aws-ec2-metadata-token"] == "a session"
            self._answer(200 if known and is_taken else 404 if known else 401, "{}")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name is given
        """Say nothing."""

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


@contextmanager
def metadata() -> Iterator[tuple[str, list[str]]]:
    """Serve instance metadata; yield its address and what is asked of it."""
    asked: list[str] = []
    handler = type("Handler", (Metadata,), {"asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def path_with_recorded_ray(directory: Path) -> str:
    """Return a PATH whose ray writes down what it is asked, and that has no other program."""
    record = directory / "ray"
    record.write_text(f'#!/bin/sh\necho "$@" >> {directory}/asked\n')
    record.chmod(0o755)
    # Waiting is not what is tested.
    pause = directory / "sleep"
    pause.write_text("#!/bin/sh\n")
    pause.chmod(0o755)
    return f"{directory}:/usr/bin:/bin"


@pytest.mark.parametrize(("cloud", "seconds"), [("aws", 120), ("gcp", 30)])
def test_the_notice_of_a_cloud_reaches_ray(cloud: str, seconds: int, tmp_path: Path) -> None:
    path = path_with_recorded_ray(tmp_path)
    with metadata() as (address, asked):
        environment = {"PATH": path, "RAYKD_METADATA": address}
        subprocess.run([str(LEAVE), cloud], env=environment, timeout=100, check=True)
    assert len(asked) == Metadata.questions_before_notice + 1
    (words,) = (tmp_path / "asked").read_text().splitlines()
    assert words.startswith("drain-node --reason DRAIN_NODE_REASON_PREEMPTION ")
    assert words.endswith(f" --deadline-remaining-seconds {seconds}")


def test_without_a_cloud_it_says_how_it_is_called() -> None:
    done = subprocess.run([str(LEAVE)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "announce_leave.sh aws | gcp" in done.stderr
