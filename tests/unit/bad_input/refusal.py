"""Ask the command line for what it cannot do, and judge what it says."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from raykd.cli.main import main

_OWN_LINE = re.compile(r"^raykd: ", re.MULTILINE)

Listing = dict[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Bad:
    """One bad input: its name, the command line, and what the message must hold."""

    name: str
    command: str
    needles: tuple[str, ...]
    """Where it is, what is there, what to do."""


def bad(name: str, command: str, *needles: str) -> Bad:
    """Return a row of a table."""
    return Bad(name, command, needles)


def listing(directory: Path) -> Listing:
    """Return every file and directory below a directory, with sizes and times of change."""
    return {
        str(path.relative_to(directory)): (
            path.stat().st_size if path.is_file() else 0,
            path.stat().st_mtime_ns if path.is_file() else 0,
        )
        for path in sorted(directory.rglob("*"))
    }


def assert_refused(
    words: list[str],
    needles: tuple[str, ...],
    *,
    place: Path,
    capsys: pytest.CaptureFixture[str],
    status: int = 2,
) -> None:
    """Assert that a command ends with one message that holds all needles, and writes nothing.

    Args:
        words: The command line.
        needles: What the message must hold.
        place: Directory in which nothing may change.
        capsys: Of the test.
        status: The exit status.
    """
    before = listing(place)
    capsys.readouterr()
    found = main(words)
    captured = capsys.readouterr()
    message = captured.err
    assert found == status, captured.out + message
    assert message.startswith("raykd: ")
    assert len(_OWN_LINE.findall(message)) == 1
    assert "internal error" not in message
    assert "Traceback" not in captured.out + message
    for needle in needles:
        assert needle in message
    assert listing(place) == before
