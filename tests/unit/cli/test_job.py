"""What the scripts in jobs/ start."""

from pathlib import Path

import pytest
from raykd.cli.job import job_arguments, run_job
from raykd.cli.main import parse
from raykd.errors import ConfigError

from tests.sweep_files import write_runs, write_sweep

HEAD = "10.0.0.7:6379"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the directory of a job, whose files name places that all machines reach."""
    monkeypatch.chdir(write_runs(tmp_path))
    write_sweep(tmp_path, {})
    return tmp_path


@pytest.mark.parametrize(
    ("command", "given", "cluster", "address"),
    [
        ("train", "teacher.yaml --fresh output_uri=s3://bucket/runs", HEAD, "auto"),
        ("sweep", "sweep.yaml --only teacher=small", HEAD, "auto"),
        ("sweep", "sweep.yaml --address 10.0.0.8:6379", HEAD, "10.0.0.8:6379"),
        ("train", "teacher.yaml", None, "local"),
        ("report", "s3://bucket/sweeps/demo", HEAD, None),
    ],
)
def test_a_job_joins_the_cluster_that_it_is_of(
    project: Path, command: str, given: str, cluster: str | None, address: str | None
) -> None:
    words = job_arguments(command, given.split(), cluster=cluster)
    assert words[0] == command
    assert words[-len(given.split()) :] == given.split()
    assert getattr(parse(words), "address", None) == address


@pytest.mark.parametrize(
    ("command", "given", "place"),
    [
        ("train", "teacher.yaml", "output_uri=runs"),
        ("cache", "base.yaml output_uri=/x data.uri=data", "data.uri=data"),
        ("sweep", "sweep.yaml runs_uri=mine", "runs_uri=mine"),
        ("prepare", "--demo stdlib-docs --output data", "--output=data"),
        ("report", "s3://bucket/sweeps/demo --output page", "--output=page"),
    ],
)
def test_a_job_writes_nothing_that_goes_with_its_directory(
    project: Path,
    command: str,
    given: str,
    place: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(ConfigError, match=rf"^{place}: is relative to the directory of the job"):
        job_arguments(command, given.split(), cluster=HEAD)
    monkeypatch.setenv("RAY_ADDRESS", HEAD)
    assert run_job(command, given.split()) == 2
    assert capsys.readouterr().err.startswith(f"raykd: {place}: is relative")
