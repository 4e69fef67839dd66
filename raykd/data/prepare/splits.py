"""Which split a file is of: by its name, as on the Hub, and never of two."""

import filecmp
import logging
import re
from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING

from raykd.config.schema.prepare import TRAIN, VALIDATION
from raykd.errors import ConfigError
from raykd.storage import uris
from raykd.storage.remote.retry import named

if TYPE_CHECKING:
    from raykd.data.prepare.sources import SourceFile

_TEST = "test"
_WORDS = {
    TRAIN: ("train", "training"),
    VALIDATION: ("validation", "valid", "val", "dev"),
    _TEST: ("test", "testing", "eval", "evaluation"),
}
"""How files and folders name their split, alone or beside other words: those of ``datasets``."""

_BLOCK_BYTES = 1 << 12

logger = logging.getLogger(__name__)


def of_split(paths: list[str], *, root: str, split: str, source: str) -> list[str]:
    """Return the files that are of a split, if their names say of which they are, else all.

    Args:
        paths: What a directory or a glob holds.
        root: Where it is searched: only names below it count.
        split: The one that is asked for.
        source: As the user names it.

    Raises:
        ConfigError: Only some of the names say it, or none says this split.
    """
    splits = {path: _named_split(path[len(root) :]) for path in paths}
    others = {path: name for path, name in splits.items() if name not in (None, split)}
    if not others:
        return paths
    held = ", ".join(sorted(set(filter(None, others.values()))))
    if unnamed := [path for path, name in splits.items() if name is None]:
        message = (
            f"{source}: holds files that are by their names of other splits ({held}, such as "
            f"{next(iter(others))}) and files of none, such as {unnamed[0]}; name each file"
        )
        raise ConfigError(message)
    if not (own := [path for path in paths if path not in others]):
        message = (
            f"{source}: holds no file of the {split} split: all are by their names of other "
            f"splits ({held}); name each file to take it all the same"
        )
        raise ConfigError(message)
    logger.warning("%s: its files of other splits (%s) are left out", source, held)
    return own


def check_distinct(files: "Iterable[SourceFile]") -> None:
    """Check that no file is of two splits, under whatever name.

    One that is read twice, and a copy of another on this machine, are told.

    Raises:
        ConfigError: One is.
    """
    seen: dict[Hashable, SourceFile] = {}
    alike: dict[Hashable, SourceFile] = {}
    for file in files:
        first = seen.setdefault(_identity(file), file)
        if first is file:
            other = alike.setdefault(_beginning(file), file)
            if other is not file and _holds_the_same(file, other):
                logger.warning("%s: holds the same as %s", file.uri, other.uri)
            continue
        also = "" if first.uri == file.uri else f" (as {first.uri})"
        if first.split != file.split:
            message = f"{file.uri}: is in two splits, {first.split}{also} and {file.split}"
            raise ConfigError(message)
        logger.warning("%s: is read again%s", file.uri, also)


def _named_split(path: str) -> str | None:
    """Return the split that a path names: its first part that names one, and only one."""
    for part in path.split("/"):
        words = set(re.split(r"[-._ 0-9]+", part.lower()))
        if splits := [split for split, names in _WORDS.items() if words.intersection(names)]:
            return splits[0] if len(splits) == 1 else None
    return None


def _beginning(file: "SourceFile") -> Hashable:
    """Return what copies on this machine have in common; of other files, what no other has."""
    if file.format is None or not uris.is_local(file.uri):
        return file.uri, file.hub_split
    with named(file.uri), uris.local_path(file.uri).open("rb") as stream:
        return file.bytes, stream.read(_BLOCK_BYTES)


def _holds_the_same(file: "SourceFile", other: "SourceFile") -> bool:
    one, two = uris.local_path(file.uri), uris.local_path(other.uri)
    return file.bytes > 0 and filecmp.cmp(one, two, shallow=False)


def _identity(file: "SourceFile") -> Hashable:
    if file.format is None:
        return file.uri, file.hub_split
    if uris.is_local(file.uri):
        status = uris.local_path(file.uri).stat()
        # Links, symbolic or hard, are one file under several names.
        return status.st_dev, status.st_ino
    return file.uri
