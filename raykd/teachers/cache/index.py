"""What a cache holds: its newest index, and the parts that are written but in none yet."""

import itertools
import json
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from raykd.data.json_values import fields_of, listed, mapping
from raykd.errors import DataError, PublicationError
from raykd.storage import uris
from raykd.storage.published.directory import (
    COMMITTED,
    Published,
    fetched,
    is_committed,
    read_published,
)
from raykd.storage.published.publishing import publishing
from raykd.teachers.cache.encodings import described_encoding
from raykd.teachers.cache.key import CacheKey, require_same
from raykd.teachers.cache.parts import (
    RECORDS,
    FinishedPart,
    Part,
    finished_content,
    finished_from,
    part_path_of,
)
from raykd.teachers.cache.payload import Encoding

KIND = "cache"

_HEAD_FILE = "head.safetensors"
_PREFIX = "index-"
_CONTENT = ("key", "encoding", "parts")
_NOTE = ".json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Index:
    """What a cache holds."""

    encoding: Encoding
    parts: tuple[FinishedPart, ...]


def read_index(uri: str, key: CacheKey) -> Index | None:
    """Return the newest index of a cache, or None where it has none.

    Raises:
        PublicationError: It is of another key, or not what was published.
    """
    # Newest first; one whose writer died before its COMMITTED is passed over.
    for name in reversed(_index_names(uri)):
        if is_committed(where := uris.join(uri, name)):
            published = read_published(where, kind=KIND)
            require_same(key, published.content.get("key"), where=where)
            return _index(published)
    return None


def publish_index(uri: str, key: CacheKey, index: Index) -> None:
    """Publish what a cache holds from here on.

    Raises:
        DataError: Row ids that do not rise: a row could not be found.
    """
    _require_order(index.parts, uri)
    names = _index_names(uri)
    # No race for the number: who holds the lease of the cache is the only one to publish.
    number = int(names[-1].removeprefix(_PREFIX)) + 1 if names else 0
    with publishing(uris.join(uri, f"{_PREFIX}{number:05d}"), kind=KIND) as publication:
        tensors = {n: t.cpu().contiguous() for n, t in index.encoding.tensors.items()}
        save_file(tensors, publication.path / _HEAD_FILE)
        publication.content.update(
            key=key.content,
            encoding=index.encoding.description,
            parts=[finished_content(each) for each in sorted(index.parts, key=_place)],
        )


def write_note(uri: str, finished: FinishedPart) -> None:
    """Note that a part of a cache is whole."""
    note = json.dumps(finished_content(finished)).encode()
    uris.write_bytes(_note_uri(uri, finished.part), note)


def noted_parts(uri: str, parts: Iterable[Part]) -> list[FinishedPart]:
    """Return those of some parts that are whole."""
    notes = uris.read_many([_note_uri(uri, part) for part in parts])
    finished = []
    for where, note in notes.items():
        try:
            finished.append(finished_from(json.loads(note), where))
        except ValueError:
            continue  # torn: the part is written again
    return finished


def unnoted_records(uri: str, names: Collection[str]) -> list[str]:
    """Return the files of records that neither an index nor a note names: their writers died.

    Args:
        uri: Of a cache that nobody builds.
        names: Of all its files, relative to it.

    Raises:
        PublicationError: Its newest index is torn.
    """
    indices = [name for name in _index_names(uri) if f"{name}/{COMMITTED}" in names]
    known: set[str] = set()
    if indices:
        published = read_published(uris.join(uri, indices[-1]), kind=KIND)
        known = {each.path for each in _parts(published)}
    # Two writers of a part leave two files: the one that the index does not name is of no use.
    parts = {part_path_of(path) for path in known}
    return [
        name
        for name in names
        if RECORDS.fullmatch(name)
        and name not in known
        and (part_path_of(name) in parts or f"{part_path_of(name)}{_NOTE}" not in names)
    ]


def _index_names(uri: str) -> list[str]:
    names = uris.list_names(uri)
    return [name for name in names if name.removeprefix(_PREFIX).isdigit()]


def _index(published: Published) -> Index:
    with _told_as_torn(published):
        given = fields_of(published.content, _CONTENT, "content")
        with fetched(published) as path:
            tensors = load_file(path / _HEAD_FILE)
        encoding = described_encoding(mapping(given["encoding"], "encoding"), tensors)
    return Index(encoding=encoding, parts=_parts(published))


def _parts(published: Published) -> tuple[FinishedPart, ...]:
    with _told_as_torn(published):
        given = fields_of(published.content, _CONTENT, "content")
        return tuple(
            finished_from(each, f"parts[{number}]")
            for number, each in enumerate(listed(given["parts"], "parts"))
        )


@contextmanager
def _told_as_torn(published: Published) -> Iterator[None]:
    try:
        yield
    except (ValueError, OSError, SafetensorError) as error:
        message = f"{published.uri}: misstates the cache: {error}; remove it and build it again"
        raise PublicationError(message) from error


def _note_uri(uri: str, part: Part) -> str:
    return uris.join(uri, f"{part.path}{_NOTE}")


def _place(finished: FinishedPart) -> Part:
    return finished.part


def _require_order(parts: Iterable[FinishedPart], uri: str) -> None:
    """Check that a row can be found by its id: ranges of a language and a split do not overlap."""
    groups: dict[tuple[int, str, str], list[FinishedPart]] = {}
    for each in parts:
        split = each.part.shard.partition("/")[0]
        groups.setdefault((each.part.epoch, split, each.part.language), []).append(each)
    for group in groups.values():
        group.sort(key=lambda each: each.first_row_id)
        for before, after in itertools.pairwise(group):
            if after.first_row_id <= before.last_row_id:
                message = (
                    f"{uri}: the row ids of {after.part.shard} overlap with those of "
                    f"{before.part.shard}; prepare the data again"
                )
                raise DataError(message)
