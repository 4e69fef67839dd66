"""Places that only the submitter has are found in whatever file or override names them."""

from pathlib import Path

import pytest
from raykd.cli.main import parse
from raykd.errors import ConfigError
from raykd.jobs.places import Configuration, configuration, require_reachable

from tests.sweep_files import write_runs, write_sweep


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_runs(tmp_path)


def told(command: str, *words: str) -> Configuration:
    return configuration(parse([command, *words]))


def test_a_run_names_its_places(project: Path) -> None:
    (project / "models").mkdir()
    found = told(
        *("train", "base.yaml", "data.uri=data", "tracking.mlflow=ml"),
        *("teachers.old.model=models", "teachers.old.cache.uri=cache"),
        *("student.init.remap.source=models", "teachers.hub.model=org/name"),
        "teachers.far.model=s3://bucket/model",
    )
    assert found.study == "student"
    assert found.paths == (Path("base.yaml"),)
    assert set(found.relative) == {
        *("output_uri=runs", "data.uri=data", "tracking.mlflow=ml", "teachers.old.model=models"),
        *("teachers.old.cache.uri=cache", "student.init.remap.source=models"),
    }


def test_a_run_whose_places_all_machines_reach_names_none(project: Path) -> None:
    found = told("train", "teacher.yaml", "output_uri=s3://bucket/runs")
    assert found.relative == ()


def test_a_sweep_names_the_places_of_all_its_runs(project: Path) -> None:
    teacher = {"run": "teacher.yaml", "overrides": {"data.uri": "elsewhere"}}
    write_sweep(
        project, {"output_uri": "sweeps", "runs_uri": None, "teachers": {"small": teacher}}
    )
    found = told("sweep", "sweep.yaml", "tracking.mlflow=ml")
    assert found.study == "study"
    assert found.paths == (Path("sweep.yaml"), Path("base.yaml"), Path("teacher.yaml"))
    assert set(found.relative) == {
        *("output_uri=sweeps", "output_uri=runs", "tracking.mlflow=ml", "data.uri=elsewhere"),
    }


def test_two_sweeps_to_compare_name_the_places_of_both(project: Path) -> None:
    write_sweep(project, {"output_uri": "sweeps", "runs_uri": "s3://bucket/runs"})
    found = told("report", "sweep.yaml", "mine/a=b", "data.uri=data", "--output", "out")
    assert found.study == "study"
    assert found.paths == (Path("sweep.yaml"), Path("base.yaml"), Path("teacher.yaml"))
    assert set(found.relative) == {
        *("output_uri=sweeps", "data.uri=data", "SWEEP=mine/a=b", "--output=out"),
    }


def test_the_directory_of_the_runs_of_a_sweep_is_for_all_of_them(project: Path) -> None:
    write_sweep(project, {})
    found = told("sweep", "sweep.yaml", "runs_uri=runs", "data.uri=data")
    assert found.relative == ("runs_uri=runs", "data.uri=data")


def test_a_job_elsewhere_is_refused_what_only_this_directory_has() -> None:
    for output in ("s3://bucket/data", "/shared/data"):
        found = told("prepare", "--demo", "stdlib-docs", "--output", output)
        require_reachable(found.relative, address="http://far")
        assert found.study == "data"
    found = told("prepare", "--demo", "stdlib-docs", "--output", "data/x")
    with pytest.raises(ConfigError, match=r"^--output=data/x: is relative .* on http://far is"):
        require_reachable(found.relative, address="http://far")
