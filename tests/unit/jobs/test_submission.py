"""The name of a job says what it is, and what runs already is not started again."""

import re
from pathlib import Path

import pytest
from raykd.errors import ConfigError
from raykd.jobs.submission import entrypoint, job_environment, next_start, submission_id

from tests.unit.security.markers import MARKERS

SWEEP = ["sweep", "configs/my sweep.yaml", "seeds=[1, 2]"]


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
    ("known", "expected"),
    [
        ({}, ("a", False)),
        ({"b": False}, ("a", False)),
        ({"a": False}, ("a", True)),
        ({"a": True}, ("a-2", False)),
        ({"a-2": False, "a": True}, ("a-2", True)),
        ({"a": True, "a-2": True, "a-1b": False}, ("a-3", False)),
    ],
)
def test_what_runs_is_attached_to_and_what_has_ended_starts_again(
    known: dict[str, bool], expected: tuple[str, bool]
) -> None:
    assert next_start("a", known) == expected


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
