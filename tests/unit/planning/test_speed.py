"""A measured step is the student's own, needs no weights of others, and leaves nothing."""

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from raykd.config.schema.run import RunConfig
from raykd.distill.models import student_config
from raykd.distill.setup import RunSetup, read_setup
from raykd.errors import ModelError
from raykd.planning.flops import RunFlops, run_flops
from raykd.planning.speed import Speed, measured_speed

from tests.small_runs import TINY_BERT, TINY_LLAMA, small_data, small_run
from tests.tiny_models import tiny_model

FLOPS = RunFlops(student_per_token=1e6, teachers_per_token=5e6)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    small_data(tmp_path / "data")
    return tmp_path


def measured(config: RunConfig, flops: RunFlops = FLOPS) -> Speed:
    speed = measured_speed(config, flops)
    assert speed is not None
    assert speed.flops_per_second > 0
    assert speed.seconds_per_step > 0
    return speed


def flops_of(setup: RunSetup) -> RunFlops:
    return run_flops(setup, student=student_config(setup), teachers={})


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"task": "causal_lm", "student": {"architecture": TINY_LLAMA}},
        {"task": "sequence_classification"},
        {"task": "sequence_classification", "student__projections": "per_language"},
        {"task": "token_classification", "train__precision": "bfloat16"},
        {"data__mixing": {"temperature": {}}},
        {"cluster": {"num_workers": 4}},
        {"train__num_steps": 1},
        {"train__activation_checkpointing": True},
    ],
)
def test_a_run_is_measured(directory: Path, changes: dict[str, Any]) -> None:
    measured(small_run(directory, **changes))


def test_only_the_students_operations_are_reckoned(directory: Path) -> None:
    config = small_run(directory)
    dearer_teacher = RunFlops(student_per_token=1e6, teachers_per_token=1e12)
    dearer_student = RunFlops(student_per_token=1e12, teachers_per_token=0)
    assert measured(config, dearer_teacher).flops_per_second < 1e12
    assert measured(config, dearer_student).flops_per_second > 1e12


def test_a_step_agrees_with_its_speed(directory: Path) -> None:
    rows_of_a_worker = 90  # every row of the data, so that all steps are alike
    config = small_run(
        directory,
        train__global_batch_size=2 * rows_of_a_worker,
        train__micro_batch_size=16,
        cluster={"num_workers": 2},
    )
    setup = read_setup(config)
    flops = flops_of(setup)
    speed = measured(config, flops)
    per_step = flops.student_per_token * sum(s.tokens for s in setup.shards("train"))
    assert speed.flops_per_second * speed.seconds_per_step == pytest.approx(per_step, rel=0.05)


def test_teachers_need_no_weights(directory: Path) -> None:
    tiny_model("bert", "masked_lm", num_layers=4).config.save_pretrained(directory / "teacher")
    config = small_run(
        directory,
        teachers={"big": {"model": str(directory / "teacher")}},
        student={"architecture": {"num_layers": 2}, "init": {"copy_layers": {}}},
        losses={"forward_kl": {}, "hidden_states": {}},
        teacher_weights={"uniform": {}},
    )
    measured(config)


@pytest.mark.parametrize("task", ["masked_lm", "sequence_classification"])
def test_a_pretrained_student_needs_no_weights(directory: Path, task: str) -> None:
    model = tiny_model("bert", "masked_lm")
    model.config.dtype = torch.bfloat16
    model.config.save_pretrained(directory / "student")
    student = {"pretrained": str(directory / "student")}
    measured(small_run(directory, task=task, student=student))


def test_a_student_that_is_nowhere_is_an_error(directory: Path) -> None:
    config = small_run(directory, student={"pretrained": str(directory / "nowhere")})
    with pytest.raises(ModelError, match="no such directory"):
        measured_speed(config, FLOPS)


def test_nothing_is_written(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(directory)
    before = sorted(directory.rglob("*"))
    measured(small_run(directory, tracking={"tensorboard": True}, train__eval_first=True))
    assert sorted(directory.rglob("*")) == before


def test_no_thread_is_left_reading(directory: Path) -> None:
    measured(small_run(directory))
    assert not [t for t in threading.enumerate() if t.name.startswith("raykd")]


def test_a_worker_has_as_many_threads_as_cpus_and_leaves_none(directory: Path) -> None:
    before = torch.get_num_threads()
    speed = measured(small_run(directory, cluster={"num_workers": 0, "cpus_per_worker": 3.5}))
    assert speed.where.endswith("CPU, 3 threads")
    assert torch.get_num_threads() == before
    speed = measured(small_run(directory, cluster={"num_workers": 0, "cpus_per_worker": 0.5}))
    assert speed.where.endswith("CPU, 1 thread")


def test_a_run_on_gpus_is_not_measured_without_one(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    config = small_run(directory, cluster={"num_workers": 0, "gpus_per_worker": 1})
    assert measured_speed(config, FLOPS) is None


@pytest.mark.gpu
def test_a_run_on_gpus_is_measured_on_one(directory: Path) -> None:
    config = small_run(
        directory,
        student={"architecture": TINY_BERT | {"hidden_size": 64}},
        train__precision="bfloat16",
        cluster={"num_workers": 0, "gpus_per_worker": 1},
    )
    assert measured(config).where == torch.cuda.get_device_name()
