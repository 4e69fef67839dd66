"""Which kind of failure the errors of an attempt stand for, whoever raised them."""

import re
from collections.abc import Iterable, Iterator

import torch
from ray.exceptions import (
    NodeDiedError,
    OutOfDiskError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
)
from ray.train import ControllerError, WorkerGroupError

from raykd.errors import (
    DiskFullError,
    DivergedError,
    HungWorkerError,
    StorageDeniedError,
    StorageError,
)
from raykd.runs.retry import FailureKind, is_deterministic
from raykd.train.on_ray.private import (
    InsufficientClusterResourcesError,
    UserExceptionWithTraceback,
    WorkerGroupStartupFailedError,
    WorkerGroupStartupTimeoutError,
    WorkerHealthCheckFailedError,
    WorkerHealthCheckTimeoutError,
)

_TELLING = (
    FailureKind.DIVERGED,
    FailureKind.STORAGE_REFUSED,
    FailureKind.WRONG_INPUT,
    FailureKind.PROGRAM_ERROR,
    FailureKind.PREEMPTED,
    FailureKind.NO_PLACE,
    FailureKind.OUT_OF_MEMORY,
    FailureKind.HUNG,
    FailureKind.DISK_FULL,
    FailureKind.STORAGE_AWAY,
    FailureKind.NODE_LOST,
    FailureKind.WORKER_DIED,
    FailureKind.CONTROLLER_DIED,
    FailureKind.FAILED,
)
"""Kinds of failure, the most telling first: where a worker ends, the others fail in its wake."""

_KINDS: tuple[tuple[tuple[type[BaseException], ...], FailureKind], ...] = (
    ((DivergedError,), FailureKind.DIVERGED),
    ((StorageDeniedError,), FailureKind.STORAGE_REFUSED),
    ((DiskFullError, OutOfDiskError), FailureKind.DISK_FULL),
    ((StorageError,), FailureKind.STORAGE_AWAY),
    ((HungWorkerError, WorkerHealthCheckTimeoutError), FailureKind.HUNG),
    ((WorkerGroupStartupTimeoutError, InsufficientClusterResourcesError), FailureKind.NO_PLACE),
    ((OutOfMemoryError, torch.OutOfMemoryError, MemoryError), FailureKind.OUT_OF_MEMORY),
    ((NodeDiedError,), FailureKind.NODE_LOST),
    ((WorkerGroupStartupFailedError, ChildProcessError), FailureKind.WORKER_DIED),
    ((ControllerError,), FailureKind.CONTROLLER_DIED),
)
_STARTUP = (
    WorkerGroupStartupTimeoutError,
    WorkerGroupStartupFailedError,
    InsufficientClusterResourcesError,
)
# Ray has no types for these: the texts of its errors tell them apart.
_NOT_INSTALLED = "No module named"
_NODE_DIED = "node has died"
_PEER_GONE = re.compile(r"[Cc]onnection (closed|reset|refused)|[Bb]roken pipe|peer")


def failure_kind(errors: Iterable[BaseException]) -> FailureKind:
    """Return the kind of failure that explains the errors of an attempt best."""
    kinds = [_kind(error) for wrapped in errors for error in unwrapped(wrapped)]
    return min(kinds, key=_TELLING.index, default=FailureKind.WORKER_DIED)


def telling_error(errors: Iterable[BaseException]) -> BaseException | None:
    """Return the error that explains the failure best, without what Ray wraps it in."""
    causes = [error for wrapped in errors for error in unwrapped(wrapped)]
    return min(causes, key=lambda error: _TELLING.index(_kind(error)), default=None)


def unwrapped(error: BaseException) -> Iterator[BaseException]:
    """Yield what an error is about: that of every worker, without Ray's wrapping."""
    if isinstance(error, WorkerGroupError):
        for failure in error.worker_failures.values():
            yield from unwrapped(failure)
        return
    inner = _inner(error)
    if inner is None:
        yield error
    else:
        yield from unwrapped(inner)


def _inner(error: BaseException) -> BaseException | None:
    inner: BaseException | None = None
    if isinstance(error, WorkerHealthCheckFailedError):
        inner = error.health_check_failure
    elif isinstance(error, UserExceptionWithTraceback):
        inner = error._base_exc  # noqa: SLF001  Ray has no other name for it
    elif isinstance(error, RayTaskError) and isinstance(error.cause, BaseException):
        inner = error.cause
    elif isinstance(error, ControllerError) and _is_telling(error.controller_failure):
        inner = error.controller_failure
    # None of itself: unwrapping would not end.
    return inner if inner is not error else None


def _is_telling(failure: BaseException) -> bool:
    """Tell whether what failed the controller says more than that it failed."""
    return isinstance(failure, _STARTUP) or _NOT_INSTALLED in str(failure)


def _kind(error: BaseException) -> FailureKind:
    if isinstance(error, RayActorError):
        if error.preempted:
            return FailureKind.PREEMPTED
        return FailureKind.NODE_LOST if _NODE_DIED in str(error) else FailureKind.WORKER_DIED
    for types, kind in _KINDS:
        if isinstance(error, types):
            return kind
    if isinstance(error, RayError) and _NOT_INSTALLED in str(error):
        return FailureKind.PROGRAM_ERROR
    if is_deterministic(error):
        return FailureKind.WRONG_INPUT if _is_raykds(error) else FailureKind.PROGRAM_ERROR
    # Gloo and NCCL raise a plain RuntimeError where the connection to another worker breaks: that
    # worker is what died.
    is_lonely = isinstance(error, ConnectionError | RuntimeError) and _PEER_GONE.search(str(error))
    return FailureKind.WORKER_DIED if is_lonely else FailureKind.FAILED


def _is_raykds(error: BaseException) -> bool:
    return type(error).__module__ == "raykd.errors"
