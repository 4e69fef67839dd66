"""Find out what a store lets this process do, by a small object that is gone afterwards."""

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from botocore.exceptions import ClientError
from fsspec import AbstractFileSystem
from fsspec.asyn import sync

from raykd.config.credentials import refuse_credentials
from raykd.errors import StorageError
from raykd.storage.remote.complaints import ERRORS, is_transient
from raykd.storage.remote.filesystem import filesystem, is_local, is_s3
from raykd.storage.remote.retry import T, named, reach
from raykd.storage.remote.retry_limit import retry_for

PREFIX = ".raykd-probe-"
"""How the names of the objects begin."""

CREATE = "create exclusively"
CHECKSUM = "write with a checksum"
RANGE_CHECKSUM = "read a range with its checksum"
"""These steps may be answered with no; the last two are of S3 alone."""

PROBE_RETRY_SECONDS = 15.0
"""A store that is away at the start is named soon, not waited for."""

_RANGE = range(3, 9)
"""Bytes of an object that are read by themselves."""

_exclusive: dict[str, bool] = {}
"""What is known of each bucket: a store does not change while a process lives."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One thing that was tried."""

    name: str
    seconds: float
    is_granted: bool = True
    """False where the store does not do it, and raykd does without."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeResult:
    """What a store does."""

    uri: str
    steps: tuple[Step, ...]

    @property
    def is_exclusive(self) -> bool:
        """Whether of several writers that create one object, exactly one succeeds."""
        return all(step.is_granted for step in self.steps if step.name == CREATE)


def probe(uri: str) -> ProbeResult:
    """Write, read, list, delete and twice create small objects at a URI.

    Raises:
        ConfigError: The URI holds credentials.
        StorageDeniedError: The store refuses a step; the message says which, and what to do.
        StorageError: The store cannot be reached, or does not keep what it was given.
    """
    return ProbeResult(uri=uri, steps=tuple(probe_steps(uri)))


def probe_steps(uri: str) -> Iterator[Step]:
    """Yield the steps of a probe, one after the other, as they are done."""
    yield from _needed_steps(uri)
    start = time.monotonic()
    is_exclusive = _probed_creation(uri)
    yield Step(name=CREATE, seconds=time.monotonic() - start, is_granted=is_exclusive)
    if is_s3(filesystem(uri)[0]):
        yield from _checksum_steps(uri)


def check_storage(uri: str) -> None:
    """Raise what ``probe`` raises where a run cannot write to a URI; quick, and never local.

    To be called before anything is written there.
    """
    if not is_local(uri):
        for _ in _needed_steps(uri):
            pass


def creates_exclusively(uri: str) -> bool:
    """Tell whether the store of a URI refuses to create what is there; some ignore the condition.

    Each bucket is tried once in a process.
    """
    if is_local(uri):
        return True
    # scheme://bucket
    bucket = "/".join(uri.split("/")[:3])
    if bucket not in _exclusive:
        _exclusive[bucket] = _probed_creation(uri.rpartition("/")[0])
    return _exclusive[bucket]


def _needed_steps(uri: str) -> Iterator[Step]:
    """Try what raykd cannot do without."""
    refuse_credentials({"uri": uri}, origin="storage")
    name = f"{PREFIX}{uuid.uuid4().hex}"
    content = name.encode()
    try:
        yield _step("write", uri, lambda store, path: store.pipe_file(f"{path}/{name}", content))
        yield _step("read", uri, lambda store, path: _read(store, f"{path}/{name}", content))
        yield _step("read a range", uri, lambda store, path: _read_range(store, f"{path}/{name}"))
        yield _step("list", uri, lambda store, path: _list(store, path, name))
        yield _step("delete", uri, lambda store, path: store.rm_file(f"{path}/{name}"))
    except BaseException:
        # What stopped the probe counts; the object may not even be there.
        with suppress(StorageError, FileNotFoundError), retry_for(0):
            _reach(uri, lambda store, path: store.rm_file(f"{path}/{name}"))
        raise


def _step(name: str, uri: str, action: Callable[[AbstractFileSystem, str], object]) -> Step:
    start = time.monotonic()
    try:
        with retry_for(PROBE_RETRY_SECONDS):
            _reach(uri, action)
    except StorageError as error:
        message = f"cannot {name} at {error}"
        raise type(error)(message) from error
    except FileNotFoundError as error:
        message = f"cannot {name} at {uri}: what was written is not there"
        raise StorageError(message) from error
    return Step(name=name, seconds=time.monotonic() - start)


def _read(store: AbstractFileSystem, path: str, content: bytes) -> None:
    store.invalidate_cache()
    _compare(store.cat_file(path), content)


def _read_range(store: AbstractFileSystem, path: str) -> None:
    _compare(store.cat_file(path, start=_RANGE.start, end=_RANGE.stop), _part_of(path))


def _compare(read: bytes, written: bytes) -> None:
    if read != written:
        message = "what is read is not what was written"
        raise ValueError(message)


def _part_of(path: str) -> bytes:
    """Return what is read of an object by its range: each holds its own name."""
    return path.rpartition("/")[2].encode()[_RANGE.start : _RANGE.stop]


def _list(store: AbstractFileSystem, path: str, name: str) -> None:
    store.invalidate_cache()
    if not any(listed.endswith(name) for listed in store.ls(path, detail=False)):
        raise FileNotFoundError(path)


def _probed_creation(uri: str) -> bool:
    """Create one object twice, and see which content is there."""
    name = f"{PREFIX}{uuid.uuid4().hex}"
    first, second = b"first", b"second"
    with retry_for(PROBE_RETRY_SECONDS):
        try:
            # What is there decides, not the answers: a request whose answer is lost is sent again,
            # and then refused because of the very object that it made.
            _reach(uri, lambda store, path: _create(store, f"{path}/{name}", first))
            _reach(uri, lambda store, path: _create(store, f"{path}/{name}", second))
            stored = _reach(uri, lambda store, path: _stored(store, f"{path}/{name}"))
            return bool(stored == first)
        finally:
            with suppress(FileNotFoundError):
                _reach(uri, lambda store, path: store.rm_file(f"{path}/{name}"))


def _checksum_steps(uri: str) -> Iterator[Step]:
    """See what a store makes of the checksums that clients of Amazon's S3 send and compare."""
    name = f"{PREFIX}{uuid.uuid4().hex}"
    try:
        sent = _asked(
            CHECKSUM,
            uri,
            lambda store, path: store.pipe_file(
                f"{path}/{name}", name.encode(), ChecksumAlgorithm="CRC32"
            ),
        )
        yield sent
        if sent.is_granted:
            yield _asked(
                RANGE_CHECKSUM, uri, lambda store, path: _read_checked(store, f"{path}/{name}")
            )
    finally:
        with suppress(FileNotFoundError):
            _reach(uri, lambda store, path: store.rm_file(f"{path}/{name}"))


def _asked(name: str, uri: str, action: Callable[[AbstractFileSystem, str], object]) -> Step:
    """Try what a store may refuse; trouble that passes is no refusal."""

    def attempt(store: AbstractFileSystem, path: str) -> bool:
        try:
            action(store, path)
        except ERRORS as error:
            if is_transient(error) and not _is_unknown(error):
                raise
            return False
        return True

    start = time.monotonic()
    with retry_for(PROBE_RETRY_SECONDS):
        is_granted = _reach(uri, attempt)
    return Step(name=name, seconds=time.monotonic() - start, is_granted=is_granted)


def _read_checked(store: AbstractFileSystem, path: str) -> None:
    bucket, _, key = path.partition("/")
    # s3fs has no argument for it: ChecksumMode has the client compare what it reads.
    which = f"bytes={_RANGE.start}-{_RANGE.stop - 1}"
    arguments = {"Bucket": bucket, "Key": key, "Range": which, "ChecksumMode": "ENABLED"}
    answer = store.call_s3("get_object", **arguments)
    _compare(sync(store.loop, answer["Body"].read), _part_of(path))


def _create(store: AbstractFileSystem, path: str, content: bytes) -> None:
    """Ask for an object where none is; whether that was refused shows in what is there."""
    try:
        store.pipe_file(path, content, mode="create")
    except ERRORS as error:
        if is_transient(error) and not _is_unknown(error):
            raise


def _is_unknown(error: Exception) -> bool:
    """Tell whether the server says that it knows no conditions."""
    cause = error.__cause__
    if not isinstance(cause, ClientError):
        return False
    answered: int = cause.response["ResponseMetadata"]["HTTPStatusCode"]
    return answered == HTTPStatus.NOT_IMPLEMENTED


def _stored(store: AbstractFileSystem, path: str) -> bytes | None:
    store.invalidate_cache()
    try:
        return bytes(store.cat_file(path))
    except FileNotFoundError:
        return None


def _reach(uri: str, action: Callable[[AbstractFileSystem, str], T]) -> T:
    """Act on a directory; where it is local and not there, on the one that it would be made in."""
    with named(uri):
        is_remote = not is_local(uri)
    if is_remote:
        return reach(uri.rstrip("/"), action)
    path = Path(filesystem(uri)[1])
    nearest = next(each for each in (path, *path.parents) if each.exists())
    return reach(str(nearest), action)
