"""The name of a job says what it is, and what runs already is not started again."""

import re
import shlex
from pathlib import Path

import pytest
from raykd.errors import ConfigError
from raykd.jobs.job import Job, running_start
from raykd.jobs.submission import decide, entrypoint, job_environment, submission_id

from tests.unit.security.markers import MARKERS

SWEEP = ["sweep", "configs/my sweep.yaml", "seeds=[1, 2]"]


def job(name: str, status: str = "SUCCEEDED", *, exit_code: int | None = None) -> Job:
    return Job(id=name, status=status, command_line="x", exit_code=exit_code)


def test_on_other_machines_a_job_runs_where_its_package_is() -> None:
    assert entrypoint(SWEEP, joins=True, directory=None) == (
        "exec python -m raykd sweep --address auto 'configs/my sweep.yaml' 'seeds=[1, 2]'"
    )


def test_on_this_machine_a_job_runs_in_the_directory_of_its_submitter() -> None:
    words = ["prepare", "--demo", "stdlib-docs", "--output", "data/docs"]
    assert entrypoint(words, joins=False, directory=Path("/my home")) == (
        "cd '/my home' && exec python -P -m raykd prepare --demo stdlib-docs --output data/docs"
    )


def test_the_name_is_that_of_the_command_line_and_its_files() -> None:
    def name(words: list[str], content: bytes = b"a") -> str:
        line = entrypoint(words, joins=True, directory=None)
        return submission_id(words[0], "my study", command_line=line, files={words[1]: content})

    assert name(SWEEP) == name(list(SWEEP))
    assert name(SWEEP).startswith("sweep-my-study-")
    others = {name(SWEEP), name(SWEEP, b"b"), name(SWEEP[:2]), name(["train", *SWEEP[1:]])}
    assert len(others) == 4
    unnamed = submission_id("prepare", "..", command_line="x", files={})
    assert re.fullmatch("prepare-[0-9a-f]{8}", unnamed)


@pytest.mark.parametrize(
    ("known", "expected", "attaches"),
    [
        ([], "a", False),
        ([job("b", "RUNNING")], "a", False),
        ([job("a", "RUNNING")], "a", True),
        ([job("a", "PENDING")], "a", True),
        ([job("a", "STOPPED")], "a-2", False),
        ([job("a-2", "RUNNING"), job("a", "FAILED")], "a-2", True),
        ([job("a"), job("a-2", "FAILED"), job("a-1b", "RUNNING")], "a-3", False),
    ],
)
def test_what_runs_is_attached_to_and_what_has_ended_starts_again(
    known: list[Job], expected: str, attaches: bool
) -> None:
    decision = decide("a", known)
    assert (decision.id, decision.running is not None) == (expected, attaches)


@pytest.mark.parametrize(
    ("named", "running", "found"),
    [
        ("sweep-a-1a2b3c4d", "sweep-a-1a2b3c4d-2", True),
        ("sweep-a-1a2b3c4d-2", "sweep-a-1a2b3c4d-3", True),
        ("sweep-a-12345678", "sweep-a-12345678-2", True),
        ("sweep-a-1a2b3c4d-2", "sweep-a-1a2b3c4d", True),
        ("sweep-a-1a2b3c4d", "sweep-a-1a2b3c4e-2", False),
        ("raysubmit_x", "raysubmit_x-2", False),
    ],
)
def test_an_old_name_leads_to_the_start_that_runs(named: str, running: str, found: bool) -> None:
    jobs = [job(named, "STOPPED"), job(running, "RUNNING"), job("other", "RUNNING")]
    assert running_start(jobs[0], jobs) == (jobs[1] if found else None)
    assert running_start(jobs[1], jobs) == jobs[1]


@pytest.mark.parametrize("directory", [Path("/my home"), None])
def test_a_job_is_told_by_the_words_of_its_submitter(directory: Path | None) -> None:
    line = entrypoint(SWEEP, joins=True, directory=directory)
    assert Job(id="a", status="RUNNING", command_line=line).command == shlex.join(SWEEP)
    assert job("a").command == "x"


def test_a_job_hears_where_things_are_and_no_secret() -> None:
    here = MARKERS | {
        "AWS_ENDPOINT_URL": "http://store",
        "HOME": "/home/me",
        "RAY_AUTH_TOKEN": "x",
    }
    found = job_environment(here, [])
    assert found == {"AWS_ENDPOINT_URL": "http://store", "RAY_JOB_STOP_WAIT_TIME_S": "600"}


def test_a_job_has_what_is_asked_for_too() -> None:
    found = job_environment({"A": "1"}, ["A", "B=2=3"])
    assert (found["A"], found["B"]) == ("1", "2=3")
    with pytest.raises(ConfigError, match=r"^--env C: is not set here"):
        job_environment({}, ["C"])


@pytest.mark.parametrize(
    ("ended", "status"),
    [
        (job("a"), 0),
        (job("a", "FAILED", exit_code=2), 2),
        (job("a", "FAILED", exit_code=-9), 1),
        (job("a", "FAILED"), 1),
        (job("a", "STOPPED"), 1),
    ],
)
def test_a_follower_ends_as_the_job_has(ended: Job, status: int) -> None:
    assert ended.exit_status == status
