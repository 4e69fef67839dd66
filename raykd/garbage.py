"""What dead writers have left below a URI: in runs, sweeps and caches, and beside them.

A run, sweep or cache with a live driver stays as it is, with all that is in it. What lies in
another one is removed by who holds its lease, so that no driver starts meanwhile.
"""

import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import chain, groupby

from raykd.errors import ConfigError
from raykd.runs.checkpoint import KIND as CHECKPOINT
from raykd.runs.export import KIND as MODEL
from raykd.storage import uris
from raykd.storage.leases.lease import held_lease
from raykd.storage.leases.records import EXPIRY_SECONDS, holders_of, is_dead
from raykd.storage.published import layout
from raykd.storage.published.garbage import (
    Garbage,
    Tree,
    is_as_found,
    left_by_preparing,
    left_by_publishing,
    remove,
)
from raykd.storage.published.ownership import PARTS, is_scratch, noted_names
from raykd.storage.remote.listing import stored
from raykd.storage.remote.names import leads_out
from raykd.storage.remote.uploads import Upload, pending_uploads
from raykd.teachers.cache.index import unnoted_records

_RUN_NAME = re.compile(r".+-[0-9a-f]{8}")
_SWEEP = (layout.SWEEP_CONFIG, layout.SWEEP_INDEX)
"""What every run and every sweep has in its directory, beside its lease. Others have such files,
too: a run is told by the hash in the name of its directory, a sweep by both files."""

_DEEPEST = 3
"""Directories below a run's that a user may name: checkpoints/step-00000100/student."""

_LEASE_FILE = re.compile(rf"{re.escape(layout.LEASE)}(\.(after|wants)\.[0-9a-f]{{32}})?")
_ASIDE = re.compile(r"(.*/)?\.[^/]+\.[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}")
"""A file that was to replace another one: its name, and a random UUID."""

_PUBLISHED = re.compile(
    rf"{layout.CHECKPOINTS}/{layout.CHECKPOINT_PREFIX}\d{{8}}/|{layout.MODEL}/"
)
_CACHE = re.compile(rf"((?:.*/)?[0-9a-f]{{16}}/)(?:{layout.RECORDS}|index-\d{{5}})/")
_CACHE_NAME = re.compile(r"[0-9a-f]{16}")
_DIRECTORIES = (f"{layout.CHECKPOINTS}/", f"{layout.MODEL}/", f"{layout.RAY}/")
"""Directories of a run, whose files are not written one by one."""


def find_garbage(uri: str, *, older_than_seconds: float, with_prepare: bool) -> list[Garbage]:
    """Return what dead writers have left below a URI.

    Args:
        uri: A run, a sweep, a directory with many of them, or a bucket.
        older_than_seconds: Age that everything must have, by the clock of the store.
        with_prepare: Whether the work of an interrupted raykd prepare, which the same command
            would continue, counts.

    Raises:
        ConfigError: Nothing can be there.
    """
    uri = uris.absolute(uri.rstrip("/"))
    # Of the run around: only with its lease in sight can it be told whether its driver lives.
    root = _owner_of(uri)
    # A key that no path leads to is nobody's of raykd.
    tree = Tree(
        root,
        {key: file for key, file in stored(root).items() if not leads_out(key.removesuffix("/"))},
    )
    if not tree.paths and uris.is_local(uri) and not uris.exists(uri):
        message = f"{uri}: nothing is there; name a run, a sweep, or what holds them"
        raise ConfigError(message)
    owners = _owners(tree)
    live = [owner for owner in owners if _is_live(tree, owner)]
    idle = [owner for owner in owners if owner not in live]
    candidates = chain(
        left_by_publishing(tree),
        left_by_preparing(tree) if with_prepare else (),
        chain.from_iterable(_left_in(tree, owner) for owner in idle),
        (_of_upload(each) for each in pending_uploads(root) if _is_own(each, root, owners)),
    )
    newest = time.time() - older_than_seconds
    return [
        _claimed(each, root, idle)
        for each in candidates
        if each.modified_at < newest
        and f"{each.uri}/".startswith(f"{uri}/")
        and not each.uri.startswith(tuple(uris.join(root, owner) for owner in live))
    ]


def remove_garbage(garbage: Iterable[Garbage]) -> Iterator[Garbage]:
    """Remove garbage, and yield each when it is gone; what has come to life stays."""
    by_lease = sorted(garbage, key=lambda each: each.lease_uri or "")
    for lease_uri, group in groupby(by_lease, key=lambda each: each.lease_uri):
        with ExitStack() as stack:
            if lease_uri is not None:
                try:
                    stack.enter_context(held_lease(lease_uri, has_workers=False))
                except ConfigError:  # a driver has started since
                    continue
            yield from filter(_is_removed, group)


def _is_removed(garbage: Garbage) -> bool:
    if _is_released(garbage):
        return True
    # Listing a bucket takes long: what was found then may be in use by now.
    if not is_as_found(garbage):
        return False
    remove(garbage)
    return True


def _is_released(garbage: Garbage) -> bool:
    """Tell whether it goes with the lease that is held, the files of whose past it is."""
    lease = garbage.lease_uri
    return lease is not None and (
        garbage.uri == lease or garbage.uri.startswith(f"{lease}.after.")
    )


def _owner_of(uri: str) -> str:
    """Return the run or sweep in whose directory a URI lies; itself where it lies in none.

    Of a cache that is the directory around it: its name tells that it is one.
    """
    around, _, name = uri.rpartition("/")
    if _CACHE_NAME.fullmatch(name) and layout.RECORDS in uris.list_names(uri):
        return around
    above = uri
    for _ in range(_DEEPEST + 1):
        if _is_owner(above, partial(_lies_in, above)):
            return above
        above = above.rpartition("/")[0]
    return uri


def _lies_in(uri: str, name: str) -> bool:
    return uris.exists(uris.join(uri, name))


def _is_owner(uri: str, has: Callable[[str], bool]) -> bool:
    return _is_run(uri, has) or all(map(has, _SWEEP))


def _is_run(uri: str, has: Callable[[str], bool]) -> bool:
    return _RUN_NAME.fullmatch(uri.rpartition("/")[2]) is not None and has(layout.RUN_CONFIG)


def _owners(tree: Tree) -> list[str]:
    """Return the directories of runs, sweeps and caches; each ends with a slash, or is empty."""
    held: dict[str, set[str]] = {}
    for path in tree.paths:
        parent, slash, name = path.rpartition("/")
        held.setdefault(f"{parent}{slash}", set()).add(name)
    runs_and_sweeps = {
        owner
        for owner, names in held.items()
        if _is_owner(_uri_of(tree, owner), names.__contains__)
    }
    caches = {cache[1] for path in tree.paths if (cache := _CACHE.match(path))}
    return sorted(runs_and_sweeps | caches)


def _uri_of(tree: Tree, directory: str) -> str:
    return uris.join(tree.uri, directory).rstrip("/")


def _is_live(tree: Tree, owner: str) -> bool:
    """Tell whether a driver may be at a run or sweep."""
    lease = f"{owner}{layout.LEASE}"
    if lease not in tree:
        return False
    try:
        holders = holders_of(uris.join(tree.uri, lease))
    except ConfigError:  # only who reads the file can tell
        return True
    # Both times, as the clocks of the holder and of the store may differ.
    written_at = tree.garbage(lease, what="lease", why="").modified_at
    return any(
        not is_dead(holder) and time.time() - max(holder.heartbeat, written_at) <= EXPIRY_SECONDS
        for holder in holders[-1:]
    )


def _left_in(tree: Tree, owner: str) -> Iterator[Garbage]:
    """Yield what is left in a run, sweep or cache whose driver is gone."""
    names = [path.removeprefix(owner) for path in tree.below(owner)]
    is_run = _is_run(_uri_of(tree, owner), names.__contains__)
    for name in names:
        if _LEASE_FILE.fullmatch(name):
            yield tree.garbage(f"{owner}{name}", what="lease", why="its holder is gone")
        elif _ASIDE.fullmatch(name) and not name.startswith(_DIRECTORIES):
            yield tree.garbage(f"{owner}{name}", what="file", why="its writer died before the end")
    if is_run:
        yield from _left_in_run(tree, owner, names)
    if any(name.startswith(f"{layout.RECORDS}/") for name in names):
        for name in unnoted_records(uris.join(tree.uri, owner.rstrip("/")), names):
            yield tree.garbage(f"{owner}{name}", what="records", why="no note names them")


def _left_in_run(tree: Tree, owner: str, names: Collection[str]) -> Iterator[Garbage]:
    """Yield what is left of Ray Train, and of published directories whose removal has begun."""
    if any(name.startswith(f"{layout.RAY}/") for name in names):
        yield tree.garbage(f"{owner}{layout.RAY}/", what="ray", why="there is no driver")
    published = {directory[0] for name in names if (directory := _PUBLISHED.match(name))}
    for name in sorted(published):
        # What is not uploaded yet is left_by_publishing, wherever it is.
        if not any(each.startswith(f"{name}{PARTS}/") for each in names):
            kind = MODEL if name == f"{layout.MODEL}/" else CHECKPOINT
            yield from tree.uncommitted(
                f"{owner}{name}", what=kind, why="is not committed", kind=kind
            )


def _is_own(upload: Upload, root: str, owners: Collection[str]) -> bool:
    """Tell whether it is raykd that has begun an upload: others may be at theirs for days."""
    path = upload.uri.removeprefix(f"{root}/")
    if leads_out(path) or path.startswith(tuple(owners)):
        return not leads_out(path)
    folders = path.split("/")[:-1]
    above = [uris.join(root, *folders[:depth]) for depth in range(len(folders) + 1)]
    return any(
        is_scratch(uri) or upload.uri.removeprefix(f"{uri}/") in noted_names(uri) for uri in above
    )


def _of_upload(upload: Upload) -> Garbage:
    return Garbage(
        what="upload",
        uri=upload.uri,
        why="was neither completed nor aborted",
        num_bytes=upload.num_bytes,
        modified_at=upload.modified_at,
        upload=upload,
    )


def _claimed(garbage: Garbage, root: str, idle: list[str]) -> Garbage:
    """Name the lease to hold while it is removed: of the innermost run or sweep around it."""
    # Trailing slashes keep the run a-1 from being around a-10.
    around = [owner for owner in idle if garbage.uri.startswith(uris.join(root, owner))]
    if not around:
        return garbage
    return replace(garbage, lease_uri=uris.join(root, f"{max(around, key=len)}{layout.LEASE}"))
