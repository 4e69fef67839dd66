"""What of a place is raykd's: asked before anything there is replaced or removed.

A published directory says so itself: its manifest names its files. So do the notes of writers that
are uploading it, which are there before the first file is. What raykd has for a while only lies
under a name that nobody else gives. All else is somebody else's, and stays.
"""

import hashlib
import json
import os
import pwd
import re
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from raykd.errors import PublicationError
from raykd.storage import uris
from raykd.storage.published import layout
from raykd.storage.published.directory import COMMITTED, MANIFEST, parsed, read_commit
from raykd.storage.remote.filesystem import filesystem
from raykd.storage.remote.listing import stored
from raykd.storage.remote.names import listed

PARTS = ".parts"
"""Folder of a remote directory whose writers have not all arrived."""

PARTIAL = ".partial"
"""How the folder beside a local target ends."""

_NAMES = ".names.json"
"""How the note ends that says which files its writer brings."""

_NOTE = re.compile(rf"{re.escape(PARTS)}/[^/]+-\d+(\.names)?\.json")

_SCRATCH = re.compile(
    rf"(.*/)?(\.[^/]+\.[0-9a-f]{{8}}(-\d+)?{re.escape(PARTIAL)}"  # a publication on its way
    r"|\.[^/]+\.prepare-[0-9a-f]{12}|raykd-prepare-[0-9a-f]{12}-[0-9a-f]{12}"  # raykd prepare
    rf"|[^/]+-[0-9a-f]{{8}}/{layout.RAY}"  # Ray Train's, of a run
    r"|(offline-)?run-\d{8}_\d{6}-[^/]+-[0-9a-f]{8})"  # W&B's, of a run
)
"""Directories that nobody else names so: raykd removes them with all that is in them. Where users
name the place, no name tells whose it is."""

_LAYOUTS = {
    layout.CHECKPOINT_KIND: re.compile(
        rf"({layout.STUDENT}|{layout.OPTIMIZER})/[^/]+"
        rf"|{re.escape(layout.STATE)}|{MANIFEST}|{COMMITTED}"
    ),
}
"""What kinds hold whose places nobody else names: even where the manifest is torn, it is known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Holding:
    """What lies at a place; names of folders end with a slash, and are there where empty."""

    own: tuple[str, ...]
    foreign: tuple[str, ...]
    is_whole: bool
    """Whether it is, or was, committed, and nobody is replacing it."""


def holding(uri: str, *, kind: str | None = None) -> Holding:
    """Tell what of a place is raykd's.

    Args:
        uri: The directory.
        kind: What it must have been published as; where None, any kind, or nothing: a name may
            tell that it is raykd's for a while.
    """
    # Listed first: who brings a file has noted it before, so that a note read later names it.
    names = _names_at(uri)
    if kind is None and is_scratch(uri):
        return Holding(own=tuple(names), foreign=(), is_whole=False)
    notes = [name for name in names if _NOTE.fullmatch(name)]
    in_manifest = _in_manifest(uri, kind) if MANIFEST in names else set()
    pattern = _LAYOUTS.get(kind or "")
    own = {*notes, *in_manifest, *(name for name in names if pattern and pattern.fullmatch(name))}
    if not own.issuperset(names):
        # Only where it matters: of many workers of a checkpoint, each would read the notes of all
        # others.
        own |= _in_notes(uri, notes, kind)
    return Holding(
        own=tuple(name for name in names if name in own),
        foreign=tuple(name for name in names if name not in own),
        is_whole=bool(in_manifest) and (not notes or COMMITTED in names),
    )


def is_scratch(uri: str) -> bool:
    """Tell whether a directory has a name that raykd gives to what it has for a while."""
    return _SCRATCH.fullmatch(uri.rstrip("/")) is not None


def require_place(uri: str, *, kind: str, overwrites: bool) -> Holding:
    """Check that a directory may be published at a place; return what is there to be replaced.

    Args:
        uri: Where it is to be.
        kind: What it is.
        overwrites: Whether an earlier one of the kind may go.

    Raises:
        PublicationError: It is a root, or what is there is not raykd's, or not to go.
    """
    _require_no_root(uri)
    there = holding(uri, kind=kind)
    if there.foreign:
        message = (
            f"{uri}: holds {listed(there.foreign)}, which raykd has not published there as a "
            f"{kind} directory; name another place"
        )
        raise PublicationError(message)
    if there.is_whole and not overwrites:
        message = (
            f"{uri}: holds a {kind} directory already; replace it with --overwrite, or name "
            "another place"
        )
        raise PublicationError(message)
    return there


def require_own(uri: str, *, marks: Collection[str], what: str) -> None:
    """Check a directory that raykd fills file by file: it is new, or has a mark of raykd's.

    Args:
        uri: The directory.
        marks: How names begin that only raykd leaves there; hidden ones do not count.
        what: What it is, for the message.

    Raises:
        PublicationError: It is somebody else's.
    """
    names = [name for name in uris.list_names(uri) if not name.startswith(".")]
    if names and not any(name.startswith(tuple(marks)) for name in names):
        message = f"{uri}: holds {listed(names)}, and no {what} of raykd; name another place"
        raise PublicationError(message)


def remove(uri: str, *, kind: str | None = None) -> None:
    """Remove what of a directory is raykd's; it is uncommitted first.

    What names the files goes last: of a removal that is cut short, the rest is raykd's still.
    """
    own = holding(uri, kind=kind).own
    last = [name for name in own if name == MANIFEST or _NOTE.fullmatch(name)]
    uris.delete_many(uri, [COMMITTED] if COMMITTED in own else [])
    uris.delete_many(uri, [name for name in own if name not in (COMMITTED, *last)])
    uris.delete_many(uri, last)


def remove_scratch(uri: str) -> None:
    """Remove what raykd has had for a while in a directory."""
    for name in uris.list_names(uri):
        if is_scratch(where := uris.join(uri, name)):
            remove(where)


def noted_names(uri: str) -> set[str]:
    """Return the names of all that writers who have not ended are to bring to a directory."""
    names = (f"{PARTS}/{name}" for name in uris.list_names(uris.join(uri, PARTS)))
    return _in_notes(uri, [name for name in names if _NOTE.fullmatch(name)], None)


def note_names(uri: str, *, writer: str, kind: str, names: list[str]) -> None:
    """Note which files a writer is about to bring to a remote directory.

    Args:
        uri: The directory.
        writer: Name of the writer: the attempt and the part that it writes.
        kind: What the directory is.
        names: Relative paths of the files.
    """
    note = json.dumps({"kind": kind, "files": names}).encode()
    uris.write_bytes(uris.join(uri, PARTS, f"{writer}{_NAMES}"), note)


def notes_of(there: Holding) -> list[str]:
    """Return the files that writers have left to tell of one another."""
    return [name for name in there.own if _NOTE.fullmatch(name)]


def _names_at(uri: str) -> list[str]:
    """Return the names of all files, and of folders of a disk that are empty.

    Raises:
        PublicationError: A file is there itself.
    """
    if uris.is_file(uri):
        message = f"{uri}: is a file, not a directory; name another place"
        raise PublicationError(message)
    names = sorted(stored(uri))
    folders = [name for name in names if name.endswith("/")]
    # In a store a folder is a key of somebody's that ends with a slash, and no file of raykd's.
    is_local = uris.is_local(uri)
    empty = {name for name in folders if is_local and not _has_more(names, name)}
    return [name for name in names if name not in folders or name in empty]


def _has_more(names: list[str], folder: str) -> bool:
    return any(name.startswith(folder) and name != folder for name in names)


def _in_manifest(uri: str, kind: str | None) -> set[str]:
    """Return what a manifest of raykd names, itself included; nothing where it is none."""
    try:
        text = uris.read_bytes(uris.join(uri, MANIFEST))
        manifest = parsed(uri, text, kind)
    except (FileNotFoundError, PublicationError):
        return set()
    # Without COMMITTED the manifest counts: a removal that was cut short goes on by it.
    with suppress(FileNotFoundError):
        if read_commit(uri) != hashlib.sha256(text).hexdigest():
            return set()
    return {*manifest["files"], MANIFEST, COMMITTED}


def _in_notes(uri: str, notes: list[str], kind: str | None) -> set[str]:
    """Return what the notes of writers name, and what they may have written beside that."""
    names: set[str] = set()
    places = [uris.join(uri, note) for note in notes if note.endswith(_NAMES)]
    for text in uris.read_many(places).values():
        with suppress(ValueError, KeyError, TypeError):
            note = json.loads(text)
            if kind in (None, note["kind"]):
                names |= {*note["files"], MANIFEST, COMMITTED}
    return names


def _require_no_root(uri: str) -> None:
    """Refuse places that hold everything else."""
    if not uris.is_local(uri):
        if "/" not in filesystem(uri)[1].strip("/"):
            message = f"{uri}: is a whole bucket; name a directory in it"
            raise PublicationError(message)
        return
    path = uris.real_path(uri)
    reasons = {
        "is the root of a file system": path.is_mount(),
        "is the working directory, or one that it lies in": Path.cwd().is_relative_to(path),
        "is a home directory": any(home.is_relative_to(path) for home in _homes()),
    }
    if reason := next((text for text, holds in reasons.items() if holds), None):
        message = f"{uri}: {reason}; name a directory of its own"
        raise PublicationError(message)


def _homes() -> list[Path]:
    """Return this user's, as the environment and as the system have it."""
    # Both: HOME may be set to a scratch directory, as schedulers do.
    homes = [uris.real_path("~")]
    with suppress(KeyError):  # in a container, a user may have no name
        homes.append(uris.real_path(pwd.getpwuid(os.getuid()).pw_dir))
    return homes
