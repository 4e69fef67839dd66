"""A list has who submitted what: a line for each job on a terminal, all of it in a pipe."""

import os
import pty
import subprocess
import sys

import pytest
from raykd.cli.main import main

from tests.servers.jobs import COMMAND, JOB, job_server


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the environment back as it was: raykd sets it for Ray."""
    for name in ("RAY_API_SERVER_ADDRESS", "RAY_AUTH_MODE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_a_list_in_a_pipe_has_whole_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with job_server(["a"]) as server:
        assert main(["list", "--address", server.address]) == 0
    heading, row = capsys.readouterr().out.splitlines()
    assert heading.split() == ["job", "status", "owner", "submitted", "took", "command"]
    assert row.startswith(f"{JOB}  running  ada    1970-01-01 ")
    assert row.endswith(f"  60 s  {COMMAND}")


def test_a_list_on_a_terminal_has_a_line_for_each_job() -> None:
    ours, theirs = pty.openpty()
    with job_server(["a"]) as server, os.fdopen(ours) as printed, os.fdopen(theirs, "w") as stdout:
        subprocess.run(
            [sys.executable, "-m", "raykd", "list", "--address", server.address],
            stdout=stdout,
            env=os.environ | {"COLUMNS": "80"},
            check=True,
        )
        heading, row = printed.readline().rstrip(), printed.readline().rstrip()
    assert heading.endswith("command")
    assert len(row) == 80
    assert row.startswith(JOB)
