"""The comments above a configuration: what its author says about how to use it."""

import itertools
import shlex
from pathlib import Path


def preparations(path: Path) -> dict[str, str]:
    """Return the commands in the header of a file that prepare data, by the place of the data."""
    commands = [line for line in _commands(path) if line.startswith("raykd prepare ")]
    return {output: line for line in commands if (output := _output(line)) is not None}


def _commands(path: Path) -> list[str]:
    """Return the commands of raykd in the comments above all else; a file without any has none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        # Whoever needs the file says so.
        return []
    header = itertools.takewhile(lambda line: line.startswith("#"), lines)
    text = "\n".join(line[1:].strip() for line in header).replace("\\\n", "")
    return [line for line in text.splitlines() if line.startswith("raykd ")]


def _output(command: str) -> str | None:
    try:
        words = shlex.split(command)
    except ValueError:
        return None
    return next((after for word, after in itertools.pairwise(words) if word == "--output"), None)
