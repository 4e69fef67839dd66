"""Whoever stops reading what a command prints hears no complaint about it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def complaints(*words: str, buffers: bool = True) -> tuple[int, str]:
    """Run a command whose output nobody reads; return its status and what it complains of."""
    unread, written = os.pipe()
    os.close(unread)
    with os.fdopen(written, "wb") as stdout:
        done = subprocess.run(
            [sys.executable, "-m", "raykd", *words],
            cwd=ROOT,
            env=os.environ | {"PYTHONUNBUFFERED": "" if buffers else "1"},
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    return done.returncode, done.stderr


@pytest.mark.parametrize("words", ["--help", "--version", "explain", "doctor storage ."])
def test_output_that_nobody_reads_ends_a_command_without_a_word(words: str) -> None:
    assert complaints(*words.split()) == (1, "")


def test_so_may_lines_that_are_printed_one_by_one() -> None:
    assert complaints("explain", buffers=False) == (1, "")
