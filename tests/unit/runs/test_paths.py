"""Where a run writes follows from its configuration, and workers find what the driver found."""

from dataclasses import replace
from pathlib import Path

import pytest
from raykd.config.identity import run_id
from raykd.config.load import checked_run
from raykd.config.schema.run import RunConfig
from raykd.runs import paths
from raykd.runs.inputs import with_absolute_paths
from raykd.runs.paths import RunPaths, run_paths


def run(**sections: object) -> RunConfig:
    given: dict[str, object] = {
        "name": "small",
        "task": "masked_lm",
        "data": {"uri": "data/x"},
        "student": {"architecture": {"model_type": "bert"}},
        "losses": {"cross_entropy": {}},
        "train": {"num_steps": 5},
    }
    return checked_run(given | sections, origin="test")


def test_a_run_lies_in_the_output_directory_under_its_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = run(inputs={"data.uri": "1a2b"})
    assert run_paths(config).run == f"{tmp_path}/runs/{run_id(config)}"
    remote = replace(config, output_uri="s3://bucket/runs/")
    assert run_paths(remote).run == f"s3://bucket/runs/{run_id(config)}"


def test_everything_of_a_run_lies_in_its_directory_and_apart() -> None:
    others = ("run", "name", "files", "marks")
    names = [name for name in dir(RunPaths) if not name.startswith("_") and name not in others]
    places = {name: getattr(RunPaths("s3://bucket/runs/a"), name) for name in names}
    assert places == {
        "checkpoints": "s3://bucket/runs/a/checkpoints",
        "config": "s3://bucket/runs/a/run.yaml",
        "init": "s3://bucket/runs/a/init.json",
        "inputs": "s3://bucket/runs/a/inputs.json",
        "lease": "s3://bucket/runs/a/lease.json",
        "log": "s3://bucket/runs/a/log.txt",
        "metrics": "s3://bucket/runs/a/metrics.jsonl",
        "model": "s3://bucket/runs/a/model",
        "profile": "s3://bucket/runs/a/profile.json.gz",
        "ray": "s3://bucket/runs/a/ray",
        "result": "s3://bucket/runs/a/result.json",
        "tensorboard": "s3://bucket/runs/a/tensorboard",
        "tracking": "s3://bucket/runs/a/tracking.json",
        "wandb": "s3://bucket/runs/a/wandb",
    }


@pytest.mark.parametrize("name", ["run.yaml", "lease.json", "metrics.jsonl", "result.json"])
def test_the_module_docstring_shows_every_file(name: str) -> None:
    assert f" {name} " in f"{paths.__doc__}"


def test_local_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("teacher", "student", "source"):
        (tmp_path / name).mkdir()
    here = with_absolute_paths(
        run(student={"pretrained": "student"}, teachers={"a": {"model": "teacher"}})
    )
    assert here.data.uri == f"{tmp_path}/data/x"
    assert here.student.pretrained == f"{tmp_path}/student"
    assert here.teachers["a"].model == f"{tmp_path}/teacher"
    copying = run(
        student={
            "architecture": {"model_type": "bert"},
            "init": {"copy_layers": {"source": "source", "layers": [1]}},
        }
    )
    init = with_absolute_paths(copying).student.init
    assert init is not None
    assert init.copy_layers is not None
    assert init.copy_layers.source == f"{tmp_path}/source"
    assert init.copy_layers.layers == (1,)


def test_uris_and_names_of_the_hub_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = run(
        data={"uri": "s3://bucket/x"},
        student={"pretrained": "org/model"},
        teachers={"a": {"model": "s3://bucket/runs/a"}},
    )
    assert with_absolute_paths(config) == replace(config, output_uri=str(tmp_path / "runs"))


def test_locating_a_run_keeps_everything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = run(optimizer={"learning_rate": 0.5}, checkpoint={"milestones": [0.5]})
    here = with_absolute_paths(config)
    assert here.output_uri == str(tmp_path / "runs")
    assert replace(here, data=config.data, output_uri=config.output_uri) == config
    assert with_absolute_paths(here) == here
