"""A job as its cluster knows it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_OVER = ("STOPPED", "SUCCEEDED", "FAILED")
_MOST_STATUS = 255
_START = re.compile(r"(?P<name>.+-[0-9a-f]{8})(-\d+)?")
"""The id of a job that raykd has started: the name of its submission, and which start it is."""

_PROGRAM = re.compile(r"^.*? -m raykd (?P<words>.*)$")


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

    owner: str | None = None
    """Who has submitted it, if raykd has."""

    @property
    def command(self) -> str:
        """The command of raykd and its arguments, without what starts it; else the whole line."""
        return _PROGRAM.sub(r"\g<words>", self.command_line).replace(" --address auto", "", 1)

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


def starts_of(name: str, jobs: Sequence[Job]) -> list[Job]:
    """Return the jobs that are starts of a submission: NAME, NAME-2 and so on."""
    return [job for job in jobs if re.fullmatch(rf"{re.escape(name)}(-\d+)?", job.id)]


def running_start(job: Job, jobs: Sequence[Job]) -> Job | None:
    """Return the start that runs of the submission that a job is a start of; None where none does.

    Args:
        job: Any.
        jobs: All of the cluster.
    """
    known = _START.fullmatch(job.id)
    starts = starts_of(known["name"], jobs) if known else [job]
    return next((each for each in starts if not each.is_over), None)
