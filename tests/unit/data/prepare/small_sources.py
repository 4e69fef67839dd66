"""Small sources of ``raykd prepare``."""

import json
from pathlib import Path

from raykd.data.prepare.report import Progress

Row = dict[str, object]


def ignore(progress: Progress) -> None:
    assert progress.share is None or 0 <= progress.share <= 1


def sentences(number: int, *, word: str = "word") -> list[str]:
    return [f"the {word} {index} of {index * 7 % 13} and {index % 5}" for index in range(number)]


def json_lines(path: Path, rows: list[Row]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def saved_vocabulary(directory: Path) -> Path:
    path = directory / "vocab.txt"
    path.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "word"]))
    return path
