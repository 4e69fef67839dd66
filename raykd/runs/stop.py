"""Why a run stops before its last step: with a checkpoint, and all workers after the same step."""

from enum import IntEnum


class StopReason(IntEnum):
    """A reason to stop; of several, the highest counts."""

    NONE = 0
    PREEMPTED = 1
    """The machine is going to be taken away."""

    RESIZED = 2
    """The driver starts another number of workers."""

    STOPPED = 3
    """The user wants the run to stop, or its study does."""
