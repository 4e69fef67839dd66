"""A submission ends as its job has, with a line that says how."""

import pytest
from ray.job_submission import JobDetails, JobStatus, JobType
from raykd.cli.commands.submit import exit_status, outcome


def job(status: str, *, exit_code: int | None = None, message: str = "") -> JobDetails:
    return JobDetails(
        type=JobType.SUBMISSION,
        entrypoint="x",
        status=JobStatus(status),
        driver_exit_code=exit_code,
        message=message,
    )


@pytest.mark.parametrize(
    ("ended", "status", "told"),
    [
        (job("SUCCEEDED"), 0, "done"),
        (job("FAILED", exit_code=2), 2, "failed with exit status 2"),
        (job("FAILED", exit_code=-9), 1, "failed with exit status -9"),
        (job("FAILED", message="no node\n"), 1, "failed: no node"),
        (job("STOPPED"), 1, "stopped; submit it again to go on"),
    ],
)
def test_a_submission_ends_as_its_job(ended: JobDetails, status: int, told: str) -> None:
    assert exit_status(ended) == status
    assert outcome(ended) == told
