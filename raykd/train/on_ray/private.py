"""Every private name of Ray Train that raykd uses, and why. A test imports them all."""

# The backend that starts a process group of PyTorch: raykd's listens at one address only.
from ray.train.torch.config import _TorchBackend as TorchBackend

# What a worker group fails of is told by these classes alone; the public ones say that it failed.
from ray.train.v2._internal.exceptions import (
    InsufficientClusterResourcesError,
    UserExceptionWithTraceback,
    WorkerGroupStartupFailedError,
    WorkerGroupStartupTimeoutError,
    WorkerHealthCheckFailedError,
    WorkerHealthCheckTimeoutError,
)

__all__ = [
    "InsufficientClusterResourcesError",
    "TorchBackend",
    "UserExceptionWithTraceback",
    "WorkerGroupStartupFailedError",
    "WorkerGroupStartupTimeoutError",
    "WorkerHealthCheckFailedError",
    "WorkerHealthCheckTimeoutError",
]
