"""Why workers leave before the last step: with a checkpoint, and all after the same step."""

from enum import IntEnum


class Leave(IntEnum):
    """A reason to leave; of several, the highest counts."""

    NO = 0
    PREEMPTED = 1
    """The machine is going to be taken away."""

    RESIZED = 2
    """The driver starts another number of workers."""

    STOPPED = 3
    """The user wants the run to stop."""
