"""The benchmark programs run to their end; what they measure is not asserted."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_streaming_runs_and_finds_the_memory_bounded() -> None:
    program = Path(__file__).with_name("streaming.py")
    finished = subprocess.run(
        [sys.executable, str(program), "--small"], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "x datasets iterable" in finished.stdout
    assert "memory of raykd rows" in finished.stdout
