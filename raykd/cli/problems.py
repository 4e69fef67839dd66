"""What is said of problems: each on a line, and the command that prepares data not yet there."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from raykd.config.header import preparations
from raykd.config.named_runs import named_runs
from raykd.config.schema.sweep import SweepConfig
from raykd.errors import RaykdError
from raykd.storage import uris
from raykd.storage.published.directory import is_committed


def print_problems(
    console: Console, problems: Sequence[str], *, paths: Sequence[Path], data_uris: Iterable[str]
) -> int:
    """Print what is in the way, or that nothing is; return the exit status.

    Args:
        console: Where.
        problems: Each in a line.
        paths: Configuration files, whose headers may say how data are prepared.
        data_uris: Where the data belong.
    """
    lines = ["", "ready"]
    if problems:
        listed = (f"  - {problem}" for problem in problems)
        lines = ["", f"{len(problems)} problem(s)", *listed, *preparation_lines(paths, data_uris)]
    for line in lines:
        # Whole, so that a command can be copied.
        console.print(line, markup=False, soft_wrap=True)
    return 2 if problems else 0


@contextmanager
def preparation_told(paths: Sequence[Path], data_uris: Iterable[str]) -> Iterator[None]:
    """Add to an error of the block how data that are not there are prepared.

    Args:
        paths: Configuration files, whose headers may say it.
        data_uris: Where the data belong.
    """
    try:
        yield
    except RaykdError as error:
        if not (lines := preparation_lines(paths, data_uris)):
            raise
        # Of the same class, which decides the exit status.
        raise type(error)("\n".join([str(error), *lines])) from error


def files_of(path: Path, sweep: SweepConfig) -> list[Path]:
    """Return a sweep's file and those of its runs."""
    return [path, *map(Path, dict.fromkeys(run.path for run in named_runs(sweep).values()))]


def preparation_lines(paths: Sequence[Path], data_uris: Iterable[str]) -> list[str]:
    """Return how the data that are not there are prepared; nothing where all are."""
    # The first file has the last word.
    known = {
        uris.absolute(place): (command, f", as {os.path.normpath(path)} says")
        for path in reversed(paths)
        for place, command in preparations(path).items()
    }
    lines = []
    for uri in dict.fromkeys(map(uris.absolute, data_uris)):
        if not _is_there(uri):
            command, origin = known.get(uri, (f"raykd prepare TEXTS --output {uri}", ""))
            lines += [f"to prepare {uri}{origin}:", f"  {command}"]
    return lines


def _is_there(uri: str) -> bool:
    with contextlib.suppress(RaykdError):
        return is_committed(uri)
    # A store that cannot be reached is told of as such.
    return True
