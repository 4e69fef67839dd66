"""What dead writers have left of published directories; and what all garbage has in common.

Only what raykd itself names and lays out in its own way counts: whoever looks for garbage must
never find a committed directory, nor a file of somebody else.
"""

import os
import re
import tempfile
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from raykd.storage import uris
from raykd.storage.published import ownership
from raykd.storage.published.directory import COMMITTED
from raykd.storage.published.ownership import PARTIAL, PARTS
from raykd.storage.remote.listing import Stored, stored
from raykd.storage.remote.probe import PREFIX
from raykd.storage.remote.staging import dead_staging, remove_if_dead
from raykd.storage.remote.uploads import Upload, abort

_PARTIAL = re.compile(rf"(.*/)?\.([^/]+)\.[0-9a-f]{{8}}(-\d+)?{re.escape(PARTIAL)}/")
_PREPARE = re.compile(r"(.*/)?\.[^/]+\.prepare-[0-9a-f]{12}/")
_PROBE = re.compile(rf"(.*/)?{re.escape(PREFIX)}[0-9a-f]{{32}}")
_STAGING = "staging"
_NOT_PREPARED = "raykd prepare has not ended"
_PARTLY = "partial"
_DIED = "its writer died before the commit"
_UPLOADED = re.compile(rf"((?:.*/)?){re.escape(PARTS)}/[^/]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Garbage:
    """Something that nobody needs."""

    what: str
    uri: str
    why: str
    num_bytes: int
    modified_at: float
    """When its newest file was written, in seconds since the epoch."""

    is_directory: bool = False
    kind: str | None = None
    """What a directory was published as, where that is known."""

    upload: Upload | None = None
    """Where it is no file, but parts of one."""

    lease_uri: str | None = None
    """The lease to hold while it is removed."""


class Tree:
    """What is stored below a URI, by relative path; directories end with a slash."""

    def __init__(self, uri: str, files: Mapping[str, Stored]) -> None:
        self.uri = uri.rstrip("/")
        self._files = files
        self.paths = sorted(files)

    def __contains__(self, path: str) -> bool:
        return path in self._files

    def below(self, directory: str) -> Iterator[str]:
        """Yield what is in a directory, at any depth; it ends with a slash, or is empty."""
        # Sorted: what has a prefix in common is in a row, however many paths a bucket has.
        for path in self.paths[bisect_left(self.paths, directory) :]:
            if not path.startswith(directory):
                return
            if path != directory:
                yield path

    def garbage(self, path: str, *, what: str, why: str) -> Garbage:
        """Return a file or a directory as garbage."""
        return self._garbage(path, self.below(path), what=what, why=why)

    def uncommitted(
        self, directory: str, *, what: str, why: str, kind: str | None = None
    ) -> Iterator[Garbage]:
        """Yield what of a directory that is not published is raykd's, if anything is."""
        own = ownership.holding(uris.join(self.uri, directory).rstrip("/"), kind=kind).own
        if own and f"{directory}{COMMITTED}" not in self:
            names = (f"{directory}{name}" for name in own)
            yield replace(self._garbage(directory, names, what=what, why=why), kind=kind)

    def _garbage(self, path: str, inside: Iterable[str], *, what: str, why: str) -> Garbage:
        is_directory = path.endswith("/") or not path
        names = [path, *(inside if is_directory else ())]
        entries = [self._files[each] for each in names if each in self._files]
        return Garbage(
            what=what,
            uri=uris.join(self.uri, path).rstrip("/"),
            why=why,
            num_bytes=sum(entry.num_bytes for entry in entries),
            modified_at=max(entry.modified_at for entry in entries),
            is_directory=is_directory,
        )


def left_by_publishing(tree: Tree) -> Iterator[Garbage]:
    """Yield what was to become a published directory wherever the user wanted it."""
    for path in tree.paths:
        if (named := _PARTIAL.fullmatch(path)) and not _is_only_copy(tree, path, named):
            yield tree.garbage(path, what=_PARTLY, why=_DIED)
        elif _PROBE.fullmatch(path):
            yield tree.garbage(path, what="probe", why="the probe of the store died")
    uploaded = (_UPLOADED.fullmatch(path) for path in tree.paths)
    for directory in sorted({note[1] for note in uploaded if note is not None}):
        yield from tree.uncommitted(directory, what=_PARTLY, why=_DIED)


def left_by_preparing(tree: Tree) -> Iterator[Garbage]:
    """Yield the work of raykd prepare that has not ended; the same command would go on there."""
    # Stores have no entry for a directory itself.
    for directory in sorted({name[0] for path in tree.paths if (name := _PREPARE.match(path))}):
        yield tree.garbage(directory, what="prepare", why=_NOT_PREPARED)


def left_on_this_machine(*, with_prepare: bool) -> Iterator[Garbage]:
    """Yield what processes had here on its way to or from a store."""
    for folder in dead_staging():
        yield _folder(folder, what=_STAGING, why="its process is gone")
    for folder in Path(tempfile.gettempdir()).glob("raykd-prepare-*-*") if with_prepare else ():
        if ownership.is_scratch(str(folder)) and folder.stat().st_uid == os.getuid():
            yield _folder(folder, what="prepare", why=_NOT_PREPARED)


def is_as_found(garbage: Garbage) -> bool:
    """Tell whether nobody has written or committed anything there since it was found."""
    # COMMITTED too: a writer that was only slow has been there since.
    files = stored(garbage.uri)
    newest = max((file.modified_at for file in files.values()), default=garbage.modified_at)
    return COMMITTED not in files and newest <= garbage.modified_at


def remove(garbage: Garbage) -> None:
    """Remove it for good, as far as it is raykd's."""
    if garbage.upload is not None:
        abort(garbage.upload)
    elif garbage.what == _STAGING:
        remove_if_dead(Path(garbage.uri))
    elif garbage.is_directory:
        ownership.remove(garbage.uri, kind=garbage.kind)
    else:
        uris.delete(garbage.uri)


def _is_only_copy(tree: Tree, path: str, named: re.Match[str]) -> bool:
    """Tell whether a committed directory waits there to be renamed, and its place is empty."""
    is_committed = any(f"{path}{name}/{COMMITTED}" in tree for name in ("whole", "replaced"))
    target = f"{named[1] or ''}{named[2]}/{COMMITTED}"
    return is_committed and target not in tree


def _folder(path: Path, *, what: str, why: str) -> Garbage:
    itself = Stored(num_bytes=0, modified_at=path.stat().st_mtime)
    inside = {f"{path.name}/{name}": file for name, file in stored(str(path)).items()}
    tree = Tree(str(path.parent), {f"{path.name}/": itself} | inside)
    return tree.garbage(f"{path.name}/", what=what, why=why)
