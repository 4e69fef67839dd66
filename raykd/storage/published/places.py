"""Where the files of a publication gather before the commit: beside a local target, or in it.

Several processes bring files to one place; the first of them commits.
"""

import json
import os
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raykd.errors import StorageError
from raykd.storage import uris
from raykd.storage.published.directory import COMMITTED, MANIFEST
from raykd.storage.published.ownership import (
    PARTIAL,
    PARTS,
    Holding,
    note_names,
    notes_of,
    remove,
    require_place,
)
from raykd.storage.remote.retry import named
from raykd.storage.remote.staging import require_room, staging_directory
from raykd.storage.remote.transfers import upload

Files = dict[str, dict[str, Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One process among those that publish a directory together."""

    index: int = 0
    """The part 0 commits, after all others have arrived."""

    count: int = 1
    # New for each attempt: files of one that died must not be taken for those of this one.
    token: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    """Alike in all parts of one attempt, and in no other attempt."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What is to appear where."""

    uri: str
    kind: str
    overwrites: bool
    """Whether an earlier one of the kind may go."""

    def require_free(self) -> Holding:
        """Return what is there and goes, all of which is raykd's.

        Raises:
            PublicationError: Something there may not go.
        """
        return require_place(self.uri, kind=self.kind, overwrites=self.overwrites)


class Place(ABC):
    """Where one publication gathers."""

    @abstractmethod
    @contextmanager
    def staged(self, *, num_bytes: int) -> Iterator[Path]:
        """Yield an empty local directory for the files of this process."""

    @abstractmethod
    def bring(self, staged: Path, names: list[str]) -> None:
        """Move or upload staged files to the place."""

    @abstractmethod
    def note(self, files: Files) -> None:
        """Tell the first process that all files of this one are there."""

    @abstractmethod
    def noted(self, part: int) -> Files | None:
        """Return what another process noted, or None before."""

    @abstractmethod
    def commit(self, manifest: bytes, commit: bytes) -> None:
        """Make the directory appear; an earlier one goes."""

    @abstractmethod
    def abandon(self) -> None:
        """Remove what can be removed after a failure."""


class LocalPlace(Place):
    """A folder beside the target, renamed at the end; a target that is a link is followed."""

    def __init__(self, target: Target, part: Part) -> None:
        self._of = target
        self._part = part
        self._target = uris.real_path(target.uri)
        self._aside = self._target.with_name(f".{self._target.name}.{part.token}{PARTIAL}")

    @contextmanager
    def staged(self, *, num_bytes: int) -> Iterator[Path]:
        """Yield a folder on the target's disk: its files need no copy."""
        with named(self._of.uri):
            directory = self._aside / f"part-{self._part.index}"
            directory.mkdir(parents=True)
            (self._aside / "whole").mkdir(exist_ok=True)
            require_room(self._aside, num_bytes)
        yield directory

    def bring(self, staged: Path, names: list[str]) -> None:
        """Move files, after they are safe on the disk."""
        for name in names:
            target = self._aside / "whole" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            # Before the rename: after a power cut a name may be there without its bytes.
            _flush(staged / name)
            (staged / name).rename(target)

    def note(self, files: Files) -> None:
        """Leave a file beside the others."""
        uris.write_bytes(str(self._noted(self._part.index)), json.dumps(files).encode())

    def noted(self, part: int) -> Files | None:
        """Look for that file."""
        path = self._noted(part)
        return json.loads(path.read_bytes()) if path.exists() else None

    def commit(self, manifest: bytes, commit: bytes) -> None:
        """Rename; what stood there goes by its names."""
        whole, replaced = self._aside / "whole", self._aside / "replaced"
        for name, content in ((MANIFEST, manifest), (COMMITTED, commit)):
            (whole / name).write_bytes(content)
            _flush(whole / name)
        # Again, now that all is written: somebody may have put files there since the start.
        there = self._of.require_free()
        # Two renames, as none replaces a directory that is not empty. Whoever dies between them
        # leaves both versions aside, and raykd clean spares the only copy.
        if self._target.exists():
            self._target.rename(replaced)
        whole.rename(self._target)
        # The rename itself is in the directory around.
        _flush(self._target.parent)
        uris.delete_many(str(replaced), there.own)
        self.abandon()

    def abandon(self) -> None:
        """Remove the folder."""
        with suppress(StorageError):
            remove(str(self._aside))

    def _noted(self, part: int) -> Path:
        return self._aside / f"{part}.json"


class RemotePlace(Place):
    """The target itself, which has no COMMITTED until the end."""

    def __init__(self, target: Target, part: Part) -> None:
        self._of = target
        self._uri = target.uri
        self._part = part

    @contextmanager
    def staged(self, *, num_bytes: int) -> Iterator[Path]:
        """Yield a temporary directory."""
        with staging_directory(num_bytes=num_bytes) as directory:
            yield directory

    def bring(self, staged: Path, names: list[str]) -> None:
        """Upload what is noted first; a directory that stood there is uncommitted before."""
        there = self._of.require_free()
        # The order: the note, so that each file is known for raykd's from its first byte; then the
        # commit of the old version, which holds no longer once one of its files is replaced.
        note_names(self._uri, writer=self._writer(), kind=self._of.kind, names=names)
        if COMMITTED in there.own:
            uris.delete(uris.join(self._uri, COMMITTED))
        upload((staged / name, uris.join(self._uri, name)) for name in names)

    def note(self, files: Files) -> None:
        """Leave an object beside the others."""
        uris.write_bytes(self._noted(self._part.index), json.dumps(files).encode())

    def noted(self, part: int) -> Files | None:
        """Look for that object."""
        try:
            return dict(json.loads(uris.read_bytes(self._noted(part))))
        except FileNotFoundError:
            return None

    def commit(self, manifest: bytes, commit: bytes) -> None:
        """Write COMMITTED between the removals of what other writers have left, and of all notes.

        So at every moment the manifest or a note names each file.
        """
        files = json.loads(manifest)["files"]
        there = self._of.require_free()
        notes = notes_of(there)
        kept = {*files, *notes, MANIFEST}
        uris.delete_many(self._uri, [name for name in there.own if name not in kept])
        uris.write_bytes(uris.join(self._uri, MANIFEST), manifest)
        uris.write_bytes(uris.join(self._uri, COMMITTED), commit)
        uris.delete_many(self._uri, notes)

    def abandon(self) -> None:
        """Leave what is uploaded: the store may be what failed; raykd clean finds it."""

    def _writer(self, part: int | None = None) -> str:
        return f"{self._part.token}-{self._part.index if part is None else part}"

    def _noted(self, part: int) -> str:
        return uris.join(self._uri, PARTS, f"{self._writer(part)}.json")


def place_of(target: Target, part: Part) -> Place:
    """Return where a publication gathers."""
    kind = LocalPlace if uris.is_local(target.uri) else RemotePlace
    return kind(target, part)


def _flush(path: Path) -> None:
    """Have a file or directory on the disk, not only in the machine's memory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
