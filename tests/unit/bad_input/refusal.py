"""Ask the command line for what it cannot do, and judge what it says."""

import re
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
from raykd.cli.main import main

_OWN_LINE = re.compile(r"^raykd: ", re.MULTILINE)
_LONGEST_MESSAGE = 3000


def nothing() -> None:
    """Leave the place as it is."""


@dataclass(frozen=True, slots=True)
class Bad:
    """One bad input, asked for in a place where all else is right."""

    name: str
    command: str
    needles: tuple[str, ...]
    """What the message must hold: where it is, what is there, what to do."""

    spoil: Callable[[], object] = nothing
    """Makes something wrong in the working directory."""

    status: int = 2
    leaves: tuple[str, ...] = ()
    """What a run that was begun leaves, below its own directory: never anything committed."""


def bad(
    name: str,
    command: str,
    *needles: str,
    spoil: Callable[[], object] = nothing,
    status: int = 2,
    leaves: tuple[str, ...] = (),
) -> Bad:
    """Return a row of a table."""
    return Bad(name, command, needles, spoil, status, leaves)


def rows(table: Iterable[Bad]) -> pytest.MarkDecorator:
    """Return the mark that runs a test for each row of a table, whose names differ."""
    table = list(table)
    names = [row.name for row in table]
    assert len(set(names)) == len(names)
    return pytest.mark.parametrize("row", table, ids=names)


def listing(directory: Path) -> dict[str, tuple[int, int]]:
    """Return every file and directory below a directory, with sizes and times of change."""
    return {
        str(path.relative_to(directory)): (path.stat().st_size, path.stat().st_mtime_ns)
        if path.is_file()
        else (0, 0)
        for path in directory.rglob("*")
    }


def assert_refused(row: Bad, *, place: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Assert that a command ends with one message that says all, and leaves nothing behind.

    Args:
        row: The bad input.
        place: Working directory, in which nothing may change.
        capsys: Of the test.

    Returns:
        The message.
    """
    row.spoil()
    before = listing(place)
    capsys.readouterr()
    status = main(shlex.split(row.command))
    printed = capsys.readouterr()
    message = printed.err
    assert status == row.status, printed.out + message
    assert message.startswith("raykd: "), message
    assert len(_OWN_LINE.findall(message)) == 1, message
    assert len(message) < _LONGEST_MESSAGE
    assert "internal error" not in message, message
    assert "Traceback" not in printed.out + message
    for needle in row.needles:
        assert needle in message, message
    after = listing(place)
    left = {Path(name).name for name in after.keys() - before.keys()}
    assert left <= {"runs", *(name for name in left if name.startswith("small-")), *row.leaves}
    assert bool(left) == bool(row.leaves), left
    assert {name: after.get(name) for name in before} == before
    return message
