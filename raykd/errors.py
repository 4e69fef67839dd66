"""Every exception raykd raises on purpose.

* RaykdError
  + ConfigError        the YAML, an override or an argument is wrong; fix it and run again
  + DataError          a row, a file or a schema is wrong; fix the data set
  + ModelError         a model is missing, of an unknown family, or does not fit its use
    + MissingHeadError   it has no trained head for the task or for the classes
  + StorageError       storage cannot be reached or dropped a request; safe to retry
    + StorageDeniedError storage refuses, and would again
    + DiskFullError      a disk is full; another attempt may find space
  + PublicationError   a directory is missing or not what its manifest says, or its place is taken
  + CheckpointError    a checkpoint is missing, torn or from another run
  + ClusterError       a cluster does not answer any more, or drops a request
  + DivergedError      training diverged; the same step would diverge again
    + NonFiniteLossError the loss or the gradient norm is NaN or infinite
    + LossSpikeError     the loss is far above the losses before
  + HungWorkerError    a worker did not come where the others waited for it
  + StoppedError       whoever waited was requested to stop
  + TrainingFailedError the workers kept failing until the retries were spent
  + WorkersFailedError the same of other work on Ray than training

Each takes exactly one argument, the message, because Ray pickles exceptions
between processes and a keyword-only constructor does not survive the trip.
"""


class RaykdError(Exception):
    """Base class: catch this to catch everything raykd raises on purpose."""

    retryable: bool = False
    """Whether the workers should be restarted after this error."""

    exit_status: int = 1
    """What the command line returns: 1 the run failed, 2 the input is wrong."""


class ConfigError(RaykdError):
    """The configuration is wrong; the message names the key and the fix."""

    exit_status = 2


class DataError(RaykdError):
    """A row, a file or a schema is not what was promised."""

    exit_status = 2


class ModelError(RaykdError):
    """A model cannot be found, is of an unknown family, or does not fit its use."""

    exit_status = 2


class MissingHeadError(ModelError):
    """A model has no trained head for the task, or for these classes."""


class StorageError(RaykdError):
    """Storage cannot be reached, is full, or dropped a request."""

    retryable = True


class StorageDeniedError(StorageError):
    """Storage refuses: no such bucket, no permission, wrong credentials or address."""

    retryable = False


class DiskFullError(StorageError):
    """A disk has no space left."""


class PublicationError(RaykdError):
    """A published directory is missing, torn or of another kind, or its place is taken."""

    exit_status = 2


class CheckpointError(RaykdError):
    """A checkpoint is missing, incomplete or belongs to another run."""


class ClusterError(RaykdError):
    """The job server of a cluster does not answer, or answers with an error."""


class DivergedError(RaykdError):
    """Training stopped before a step that would harm the weights."""


class NonFiniteLossError(DivergedError):
    """The loss or the gradient norm became NaN or infinite."""


class LossSpikeError(DivergedError):
    """The loss rose far above the losses before."""


class HungWorkerError(RaykdError):
    """A worker did not come where the others waited; the message names it."""

    retryable = True


class StoppedError(RaykdError):
    """Whoever waited was requested to stop."""


class TrainingFailedError(RaykdError):
    """The workers kept failing until the retries were spent."""


class WorkersFailedError(RaykdError):
    """Workers of other work than training kept failing until the retries were spent."""
