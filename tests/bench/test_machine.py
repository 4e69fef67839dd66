"""The benchmark of the machine's settings runs to its end; what it measures is not asserted."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.long
@pytest.mark.timeout(300)
def test_kept_memory_changes_no_loss() -> None:
    program = Path(__file__).with_name("machine.py")
    finished = subprocess.run(
        [sys.executable, str(program), "--small", "--case", "classes"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    rows = [line.split("│") for line in finished.stdout.splitlines() if line.count("│") == 9]
    losses = [row[-2].strip() for row in rows if row[-2].strip()]
    assert len(losses) == 2
    assert losses[0] == losses[1]
