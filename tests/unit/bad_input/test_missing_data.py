"""Data that are not there are told with the command for them, and hide nothing else."""

import shutil
from pathlib import Path

import pytest
from raykd.cli.main import main

_HEADER = "# Words.\n#   raykd prepare rows.jsonl --output data\n"
_COMMAND = "  raykd prepare rows.jsonl --output data"


@pytest.fixture(autouse=True)
def without_data(place: Path) -> None:
    """Take the data away."""
    shutil.rmtree(place / "data")


def head(path: Path) -> None:
    path.write_text(_HEADER + path.read_text())


@pytest.mark.parametrize("command", ["check", "train"])
def test_a_run_names_the_command_of_its_header(
    place: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    head(place / "run.yaml")
    assert main([command, "run.yaml"]) == 2
    printed = capsys.readouterr()
    lines = (printed.out + printed.err).splitlines()
    assert lines[-2:] == [f"to prepare {place}/data, as run.yaml says:", _COMMAND]


def test_without_a_header_the_command_is_named_all_the_same(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "run.yaml"]) == 2
    assert capsys.readouterr().err.endswith(f"  raykd prepare TEXTS --output {place}/data\n")


def test_a_header_about_other_data_is_not_it(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head(place / "run.yaml")
    assert main(["train", "run.yaml", "data.uri=elsewhere"]) == 2
    assert capsys.readouterr().err.endswith(f"raykd prepare TEXTS --output {place}/elsewhere\n")


def test_a_cache_names_it_too(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head(place / "kd.yaml")
    assert main(["cache", "kd.yaml", "teachers.big.cache={}", "--plan"]) == 2
    assert _COMMAND in capsys.readouterr().err


def test_missing_models_of_a_run_are_told_at_once(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "kd.yaml", "teachers.big.model=./nowhere"]) == 2
    printed = capsys.readouterr().out
    assert "2 problem(s)" in printed
    assert "./nowhere: no such directory" in printed


@pytest.mark.parametrize("headed", ["sweep.yaml", "kd.yaml"])
@pytest.mark.parametrize("command", ["check", "sweep"])
def test_a_sweep_names_it_by_its_own_header_or_that_of_its_runs(
    place: Path, headed: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    head(place / headed)
    assert main([command, "sweep.yaml"]) == 2
    printed = capsys.readouterr()
    lines = (printed.out + printed.err).splitlines()
    assert lines[-2:] == [f"to prepare {place}/data, as {headed} says:", _COMMAND]
    assert sum("holds no committed data" in line for line in lines) == 1


def test_the_plan_of_a_sweep_is_told_as_far_as_it_is_known(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = "teachers={big: {run: run.yaml, milestones: [0.5, 1]}}"
    assert main(["check", "sweep.yaml", stage, "metric=loss", "seeds=[1,2]"]) == 2
    text = " ".join(capsys.readouterr().out.split())
    assert "teacher big: to be trained; qualities 0.5, 1; how long is not known" in text
    assert "10: 5 arm(s) x 2 seed(s), 2 of them controls" in text
    assert "losses.forward_kl.weight 1 (4), 2 (4)" in text
    assert "cost not known before the problems below are solved" in text
    assert "2 problem(s)" in text
    assert "metric=loss is none" in text


def test_a_missing_model_of_a_sweep_is_told_beside_the_data(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "sweep.yaml", "teachers.big.model=./nowhere"]) == 2
    text = capsys.readouterr().out
    assert "./nowhere: no such directory" in text
    assert "holds no committed data directory" in text
