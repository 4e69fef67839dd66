"""A run in this process leaves the terminal to a debugger: nothing is drawn over its prompt."""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from raykd.config.load import as_yaml

from tests.small_runs import small_data, small_run

_PROGRAM = """
import sys
import torch
from raykd.cli.main import main

calls = 0

def look(*_):
    global calls
    calls += 1
    if calls == {at}:
        {stops}

torch.nn.modules.module.register_module_forward_hook(look)
sys.exit(main(["train", "run.yaml", "train.log_every_steps=1"]))
"""
_PROMPT = b"(Pdb) "
_MOVES = re.compile(rb"\x1b\[(\?25|[\d;]*[A-KST])")
"""What moves or hides the cursor, or erases: what a live line is drawn with."""


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, directory: Path, program: str) -> None:
        self._ours, theirs = pty.openpty()
        self._program = subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=directory,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=os.environ | {"TERM": "xterm", "COLUMNS": "200"},
            start_new_session=True,
        )
        os.close(theirs)

    def until(self, end: bytes) -> bytes:
        """Return what it prints up to an end; all there is where the end is empty."""
        found = b""
        while not end or not found.endswith(end):
            try:
                read = os.read(self._ours, 1)
            except OSError:
                # Its end: nobody has the other side any more.
                break
            found += read
        return found

    def type(self, line: str) -> None:
        """Type a line."""
        os.write(self._ours, f"{line}\n".encode())

    def close(self) -> None:
        """Hang up, and wait for the program's end."""
        os.close(self._ours)
        self._program.wait()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    small_data(tmp_path / "data")
    (tmp_path / "run.yaml").write_text(as_yaml(small_run(tmp_path, name="debugged")))
    return tmp_path


@contextmanager
def debugged(directory: Path, stops: str) -> Iterator[Terminal]:
    """Yield a terminal whose program stands in a debugger, in the middle of a step."""
    terminal = Terminal(directory, _PROGRAM.format(at=100, stops=stops))
    try:
        shown = terminal.until(_PROMPT)
        assert shown.endswith(_PROMPT), shown.decode()
        assert not _MOVES.search(shown)
        yield terminal
    finally:
        terminal.close()


def test_nothing_else_prints_while_the_prompt_waits_and_the_run_goes_on(directory: Path) -> None:
    with debugged(directory, "import pdb; pdb.set_trace()") as terminal:
        terminal.type("import threading; print([t.name for t in threading.enumerate()])")
        assert b"raykd-follow" not in terminal.until(_PROMPT)
        terminal.type("p 6 * 7")
        assert b"42" in terminal.until(_PROMPT)
        terminal.type("c")
        rest = terminal.until(b"")
    assert b"step 6/6  loss" in rest
    assert b"done: 6 steps" in rest
    assert not _MOVES.search(rest)


def test_who_quits_the_debugger_is_told_no_bug(directory: Path) -> None:
    with debugged(directory, "breakpoint()") as terminal:
        terminal.type("q")
        rest = terminal.until(b"")
    assert b"raykd: ended in the debugger" in rest
    assert b"internal error" not in rest
