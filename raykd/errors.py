"""Every exception raykd raises on purpose.

* RaykdError
  + ConfigError        the YAML, an override or an argument is wrong; fix it and run again
  + DataError          a row, a file or a schema is wrong; fix the data set
  + ModelError         a model is missing, of an unknown family, or does not fit its use
  + StorageError       storage refused or dropped a request; safe to retry
  + PublicationError   a directory is missing, uncommitted, or not what its manifest says
  + CheckpointError    a checkpoint is missing, torn or from another run
  + NonFiniteLossError training diverged; the same step would diverge again
  + TrainingFailedError the workers kept failing until the retries were spent

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


class StorageError(RaykdError):
    """Storage refused or dropped a request."""

    retryable = True


class PublicationError(RaykdError):
    """A published directory is missing, uncommitted, torn or of another kind."""

    exit_status = 2


class CheckpointError(RaykdError):
    """A checkpoint is missing, incomplete or belongs to another run."""


class NonFiniteLossError(RaykdError):
    """The loss or the gradient norm became NaN or infinite."""


class TrainingFailedError(RaykdError):
    """The workers kept failing until the retries were spent."""
