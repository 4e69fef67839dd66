"""A job as its cluster knows it."""

from dataclasses import dataclass

_OVER = ("STOPPED", "SUCCEEDED", "FAILED")
_MOST_STATUS = 255


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What the cluster says of one job."""

    id: str
    status: str
    """PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED."""

    command_line: str
    message: str = ""
    submitted_at: float | None = None
    """Seconds since 1970."""

    ended_at: float | None = None
    exit_code: int | None = None
    """Of the command; None while it runs, where it was stopped, and where it never ran."""

    package: str | None = None
    """Hash of the files that raykd has sent with it."""

    @property
    def is_over(self) -> bool:
        """Whether the job has ended, well or not."""
        return self.status in _OVER

    @property
    def exit_status(self) -> int:
        """What a command that waits for the job returns: the job's own status where it has one."""
        if self.status == "SUCCEEDED":
            return 0
        # A negative one is the number of the signal that ended it.
        own = self.exit_code or 0
        return own if 0 < own <= _MOST_STATUS else 1
