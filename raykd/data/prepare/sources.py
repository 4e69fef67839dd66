"""Which files a source names, and what they are: everything that is known before reading.

A source is a file, a directory (searched recursively by known endings), a glob, a URI of any
of these, or the name of a data set on the Hub. Of a directory or a glob whose files are of several
splits by their names, those of the split that is asked for are read.
"""

import os.path
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath

from botocore.exceptions import BotoCoreError

from raykd.config.schema.prepare import TRAIN, VALIDATION, Format, SourceOptions
from raykd.data.prepare.readers.streams import COMPRESSIONS
from raykd.data.prepare.splits import of_split
from raykd.errors import ConfigError, DataError, StorageError
from raykd.storage import uris
from raykd.storage.remote.filesystem import retrying_filesystem
from raykd.storage.remote.listing import require_readable

ENDINGS: dict[str, Format] = {
    ".txt": "text",
    ".text": "text",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
}

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_GLOB = re.compile(r"[*?\[]")


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFile:
    """One file to read, or one Hub data set."""

    split: str
    uri: str
    format: Format | None
    """None for a Hub data set."""

    bytes: int = 0
    """Size as stored; 0 for a Hub data set."""

    modified: datetime | None = None
    """Time of the last change; None for a Hub data set."""

    hub_split: str | None = None


def expand(options: SourceOptions) -> list[SourceFile]:
    """Return every file of every split in the order in which they are read.

    Raises:
        ConfigError: A source is not there, its format is unknown, or a directory mixes formats.
        StorageError: A file system cannot be reached.
    """
    return [
        file
        for split, sources in {TRAIN: options.train, **options.splits}.items()
        for source in sources
        for file in _files_of(source, split=split, options=options)
    ]


def ending(uri: str) -> str:
    """Return the ending of a file name in lower case, a compression's left out."""
    suffixes = PurePosixPath(uri.lower()).suffixes
    if suffixes and suffixes[-1] in COMPRESSIONS:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _files_of(source: str, *, split: str, options: SourceOptions) -> Iterable[SourceFile]:
    try:
        filesystem, path = retrying_filesystem(source)
        # fsspec keeps listings as long as the process: later files would be missed (s3fs
        # issue 851).
        filesystem.invalidate_cache()
        if uris.is_local(source):
            # fsspec takes what may not be seen for what is not there.
            require_readable(Path(path))
        if filesystem.isdir(path):
            paths = _in_directory(source, filesystem.find(path), root=path, options=options)
            paths = of_split(paths, root=path, split=split, source=source)
        elif uris.exists(source):
            paths = [path]
        elif _GLOB.search(source):
            paths = sorted(match for match in filesystem.glob(path) if filesystem.isfile(match))
            root = _GLOB.split(path)[0].rpartition("/")[0]
            paths = of_split(paths, root=root, split=split, source=source)
        else:
            paths = []
        if not paths:
            return [_hub_data_set(source, split=split, options=options)]
        remote = "://" in source
        return [
            SourceFile(
                split=split,
                uri=filesystem.unstrip_protocol(path) if remote else _as_written(source, path),
                format=options.file_format or _format_of(path),
                bytes=filesystem.size(path),
                modified=filesystem.modified(path),
            )
            for path in paths
        ]
    except (OSError, BotoCoreError, ImportError, ValueError) as error:
        message = f"{source}: {type(error).__name__}: {error}"
        raise StorageError(message) from error


def _as_written(source: str, path: str) -> str:
    """Name a local file the way its source is named: relative if the source is."""
    return path if Path(source).is_absolute() else os.path.relpath(path)


def _in_directory(
    source: str, files: list[str], *, root: str, options: SourceOptions
) -> list[str]:
    """Return the files of known endings; several formats at once need a decision."""
    # Hidden files and folders, such as .ipynb_checkpoints, hold no data.
    visible = [path for path in sorted(files) if "/." not in path[len(root) :]]
    known = {path: ENDINGS[ending(path)] for path in visible if ending(path) in ENDINGS}
    counts = Counter(known.values())
    if options.file_format is None and len(counts) > 1:
        held = ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))
        message = f"{source}: holds files of several formats ({held}); choose with --format"
        raise ConfigError(message)
    wanted = options.file_format or next(iter(counts), None)
    paths = [path for path, name in known.items() if name == wanted]
    if not paths:
        endings = ", ".join(sorted(ENDINGS))
        message = f"{source}: holds no file of a known ending ({endings})"
        raise ConfigError(message)
    return paths


def _format_of(path: str) -> Format:
    if (file_format := ENDINGS.get(ending(path))) is None:
        message = (
            f"{path}: the ending {ending(path)!r} is unknown (known: "
            f"{', '.join(sorted(ENDINGS))}); name the format with --format"
        )
        raise ConfigError(message)
    return file_format


def _hub_data_set(source: str, *, split: str, options: SourceOptions) -> SourceFile:
    if not _HUB_NAME.fullmatch(source) or ending(source) in ENDINGS:
        message = (
            f"{source}: no such file or directory; a source is a file, a directory, a glob, a URI "
            "or a data set on the Hub"
        )
        raise DataError(message)
    given = {TRAIN: options.hub_split, VALIDATION: options.hub_validation_split}
    hub_split = given.get(split, split)
    return SourceFile(split=split, uri=source, format=None, hub_split=hub_split)
