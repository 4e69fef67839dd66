"""What sources and a tokenizer hold, found out without reading much: names and places are nothing.

- A file on this machine of up to 4 MiB: all of its bytes.
- A larger one: its size, the time of its last change, and 16 blocks of 64 KiB from its beginning
  to its end. Another time, earlier or later, counts as another content.
- A file in a store: its size and its ETag, or else the time of its last change.
- A data set on the Hub: its name.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from raykd.config.schema.prepare import TRAIN, PrepareOptions
from raykd.data.prepare.sources import SourceFile, ending
from raykd.data.tokenizers import load_tokenizer
from raykd.storage import uris
from raykd.storage.remote.filesystem import retrying_filesystem

_WHOLE_BYTES = 4 << 20
_BLOCK_BYTES = 64 << 10
_BLOCKS = 16


def content_of(files: tuple[SourceFile, ...]) -> str:
    """Return a hash of what files hold, in their order, and of how they are read."""
    return _hash([[*_reading(file), _content(file)] for file in files])


def places_of(options: PrepareOptions) -> str:
    """Return a hash of where the options look, however that is written."""
    sources = options.sources
    named = {**sources.splits, TRAIN: sources.train, "": (options.tokenizer.source or "",)}
    return _hash({name: [uris.absolute(each) for each in some] for name, some in named.items()})


def tokenizer_content(source: str) -> str:
    """Return a hash of all that a tokenizer does with text.

    Raises:
        DataError: There is no tokenizer.
    """
    tokenizer = load_tokenizer(source)
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    return _hash([state, {role: str(t) for role, t in tokenizer.special_tokens_map.items()}])


def _reading(file: SourceFile) -> list[object]:
    # The ending tells one dialect from another, and how a file is compressed.
    return [file.split, file.format, ending(file.uri), PurePosixPath(file.uri).suffix]


def _content(file: SourceFile) -> list[object]:
    if file.format is None:
        return [file.uri, file.hub_split]
    if not uris.is_local(file.uri):
        filesystem, key = retrying_filesystem(file.uri)
        info = filesystem.info(key)
        version = info.get("ETag") or info.get("etag") or file.modified
        return [file.bytes, str(version)]
    path = uris.local_path(file.uri)
    digest = hashlib.sha256()
    for block in _blocks(path, file.bytes):
        digest.update(block)
    times = [] if file.bytes <= _WHOLE_BYTES else [path.stat().st_mtime_ns]
    return [file.bytes, *times, digest.hexdigest()]


def _blocks(path: Path, size: int) -> Iterator[bytes]:
    """Yield the bytes of a small file, or some of a large one."""
    with path.open("rb") as stream:
        if size <= _WHOLE_BYTES:
            yield stream.read()
            return
        for index in range(_BLOCKS):
            stream.seek((size - _BLOCK_BYTES) * index // (_BLOCKS - 1))
            yield stream.read(_BLOCK_BYTES)


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
