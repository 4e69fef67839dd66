"""What Ray and raykd raise, and which kind of failure it is."""

import pytest
import torch
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    NodeDiedError,
    OutOfMemoryError,
    RayActorError,
)
from ray.train import ControllerError, WorkerGroupError
from ray.train.v2._internal.exceptions import (
    UserExceptionWithTraceback,
    WorkerGroupStartupFailedError,
    WorkerGroupStartupTimeoutError,
    WorkerHealthCheckFailedError,
    WorkerHealthCheckTimeoutError,
)
from raykd.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DiskFullError,
    HungWorkerError,
    LossSpikeError,
    ModelError,
    NonFiniteLossError,
    StorageDeniedError,
    StorageError,
)
from raykd.runs.retry import FailureKind
from raykd.train.on_ray.failure_cause import failure_kind, telling_error

DEAD = ActorDiedError()
LOST = RayActorError(error_msg="The actor died because its node has died. Node Id: 12ab")
TAKEN = RayActorError(error_msg="its node was drained", preempted=True)
LONELY = RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1")
NAN = NonFiniteLossError("step 3: the loss is nan")
AWAY = StorageError("s3://x: 503")


def health(error: Exception) -> WorkerHealthCheckFailedError:
    return WorkerHealthCheckFailedError("A worker health check failed.", failure=error)


def group(*errors: Exception) -> WorkerGroupError:
    return WorkerGroupError("of workers", dict(enumerate(errors)))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (group(health(DEAD)), FailureKind.WORKER_DIED),
        (group(health(ActorUnavailableError("gone", None))), FailureKind.WORKER_DIED),
        (group(health(LOST)), FailureKind.NODE_LOST),
        (group(health(NodeDiedError("dead"))), FailureKind.NODE_LOST),
        (group(LONELY), FailureKind.WORKER_DIED),
        (group(LONELY, health(LOST)), FailureKind.NODE_LOST),
        (group(health(OutOfMemoryError("killed"))), FailureKind.OUT_OF_MEMORY),
        (group(torch.OutOfMemoryError("CUDA out of memory")), FailureKind.OUT_OF_MEMORY),
        (group(MemoryError()), FailureKind.OUT_OF_MEMORY),
        (group(LONELY, health(OutOfMemoryError("killed"))), FailureKind.OUT_OF_MEMORY),
        (group(HungWorkerError("worker 1"), LONELY), FailureKind.HUNG),
        (group(WorkerHealthCheckTimeoutError("600 s")), FailureKind.HUNG),
        (group(health(TAKEN), LONELY), FailureKind.PREEMPTED),
        (ControllerError(WorkerGroupStartupTimeoutError(2)), FailureKind.NO_PLACE),
        (ControllerError(WorkerGroupStartupFailedError("died")), FailureKind.WORKER_DIED),
        (ControllerError(OSError("snapshot")), FailureKind.CONTROLLER_DIED),
        (group(AWAY), FailureKind.STORAGE_AWAY),
        (group(StorageDeniedError("s3://x: 403")), FailureKind.STORAGE_REFUSED),
        (group(DiskFullError("/x: the disk is full")), FailureKind.DISK_FULL),
        (group(NAN, LONELY), FailureKind.DIVERGED),
        (group(LossSpikeError("step 3"), health(TAKEN)), FailureKind.DIVERGED),
        (group(ConfigError("wrong")), FailureKind.WRONG_INPUT),
        (group(DataError("wrong")), FailureKind.WRONG_INPUT),
        (group(ModelError("wrong"), AWAY), FailureKind.WRONG_INPUT),
        (group(CheckpointError("torn")), FailureKind.WRONG_INPUT),
        (group(TypeError("wrong")), FailureKind.PROGRAM_ERROR),
        (group(UserExceptionWithTraceback(KeyError("x"), "text")), FailureKind.PROGRAM_ERROR),
        (group(RuntimeError("CUDA error: an illegal memory access")), FailureKind.FAILED),
        (group(OSError("no route to host")), FailureKind.FAILED),
        (ChildProcessError("ended with exit code -9"), FailureKind.WORKER_DIED),
    ],
)
def test_every_error_has_a_kind(error: BaseException, kind: FailureKind) -> None:
    assert failure_kind([error]) is kind


def test_an_end_without_a_word_is_a_death() -> None:
    assert failure_kind([]) is FailureKind.WORKER_DIED


def test_the_error_that_explains_most_is_the_one_that_is_told() -> None:
    assert telling_error([group(LONELY, AWAY, NAN)]) is NAN
    assert telling_error([group(health(DEAD), LONELY)]) is DEAD
