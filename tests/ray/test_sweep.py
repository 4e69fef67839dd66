"""Sweeps on a real local Ray: stages once, workers inside trials, failures; nothing is left."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from raykd.cli.main import main as raykd
from raykd.config.load import checked_run
from raykd.models.load import save_model
from raykd.ray_cluster.connect import LOCAL, ray_cluster
from raykd.runs.metrics import evaluations
from raykd.runs.paths import run_paths
from raykd.sweep.ledger import Ledger, read_ledger
from raykd.sweep.record import State

from tests.ray.support import sweep_drivers as drivers
from tests.sweep_files import WEIGHT, write_runs, write_sweep
from tests.tiny_models import tiny_model
from tests.unit.train.test_run import train

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

TWO_TEACHERS = {
    "small": {"run": "teacher.yaml", "milestones": [0.5, 1]},
    "tiny": {"run": "teacher.yaml", "overrides": {"student.architecture.num_layers": 1}},
}
RATE = "optimizer.learning_rate"


ANOTHER_RAY = """
import sys
from raykd.ray_cluster.connect import LOCAL, ray_cluster
with ray_cluster(LOCAL, num_cpus=1, num_gpus=0):
    print("up", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def another_ray() -> Iterator[None]:
    """Keep a second Ray on the machine, as another sweep or another user would."""
    command = [sys.executable, "-c", ANOTHER_RAY]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        yield
        # Leaving the block closes its input, which ends it.


@pytest.fixture(scope="module")
def ray_of_four() -> Iterator[Any]:
    with ray_cluster(LOCAL, num_cpus=4, num_gpus=0):
        import ray  # noqa: PLC0415  its environment is set above

        yield ray


def sweep(directory: Path, *arguments: str, **given: Any) -> tuple[int, Ledger]:
    path = write_sweep(write_runs(directory), {"teachers": TWO_TEACHERS, **given})
    status = raykd(["sweep", str(path), *arguments])
    return status, read_ledger(str(directory / "sweeps" / str(given.get("name", "study"))))


def logged(ledger: Ledger, run_id: str) -> str:
    return Path(ledger.records[run_id].run_uri, "log.txt").read_text()


def test_each_teacher_is_trained_once_for_two_overlapping_sweeps(
    tmp_path: Path, ray_of_four: Any
) -> None:
    grid = {WEIGHT: {"grid": [1, 2]}}
    status, first = sweep(tmp_path, search=grid)
    assert status == 0
    # Three qualities x two weights, and a control.
    assert len(first.trials) == 7
    assert [len(stage.attempts) for stage in first.stages] == [1, 1]
    assert len(list((tmp_path / "runs").glob("teacher-*"))) == 2
    assert {record.state for record in first.records.values()} == {State.DONE}
    other = {WEIGHT: {"grid": [1, 4]}}
    status, second = sweep(tmp_path, name="other", search=other)
    assert status == 0
    assert all(stage.is_reused for stage in second.stages)
    assert len(list((tmp_path / "runs").glob("teacher-*"))) == 2
    trained = {record.id for record in second.trials if not record.is_reused}
    assert trained == second.records.keys() - first.records.keys()
    assert {second.records[i].coordinates[WEIGHT] for i in trained} == {4}
    # Each trial has a process of its own, which says on what it runs, and nothing else.
    for record in first.trials:
        (line,) = logged(first, record.id).splitlines()
        assert "machine: 1 thread(s)" in line


def test_trials_of_several_workers_stop_early_and_leave_nothing_reserved(
    tmp_path: Path, another_ray: None, ray_of_four: Any
) -> None:
    status, ledger = sweep(
        tmp_path,
        teachers={},
        controls=False,
        overrides={
            "cluster.num_workers": 2,
            "train.num_steps": 400,
            "train.eval_every_steps": 100,
            "train.log_every_steps": 10,
            "losses": {"cross_entropy": {}},
            "teachers": {},
        },
        search={RATE: {"grid": [1e-2, 1e-9]}},
        # Long before its end, so that a trial hears in time that it is to stop.
        scheduler={"asha": {"first_rung": 0.25, "reduction_factor": 2}},
    )
    assert status == 0
    assert [record.state for record in ledger.trials] == [State.DONE, State.STOPPED]
    assert all(record.evaluations for record in ledger.trials)
    assert [record.attempts[-1].kind for record in ledger.trials] == [None, "stopped"]
    cpus = ray_of_four.cluster_resources()["CPU"]
    until(lambda: ray_of_four.available_resources().get("CPU") == cpus)


def until(condition: Callable[[], bool]) -> None:
    """Wait for what Ray does in its own time; the test's limit ends it."""
    pause = threading.Event()
    while not condition():
        pause.wait(0.1)


def test_a_failed_trial_is_told_and_is_tried_again_when_asked(
    tmp_path: Path, ray_of_four: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {
        "teachers": {},
        "controls": False,
        "overrides": {"losses": {"cross_entropy": {}}, "teachers": {}},
        "search": {RATE: {"grid": [1e-3, 1e30]}, "optimizer.warmup_fraction": {"grid": [0]}},
    }
    status, ledger = sweep(tmp_path, **given)
    good, bad = ledger.trials
    assert (status, good.state, bad.state) == (1, State.DONE, State.FAILED)
    # It would diverge again: one attempt is enough.
    assert [attempt.error_class for attempt in bad.attempts] == ["NonFiniteLossError"]
    assert "NonFiniteLossError" in logged(ledger, bad.id)
    assert "NonFiniteLossError" in capsys.readouterr().out
    assert len(sweep(tmp_path, **given)[1].records[bad.id].attempts) == 1
    status, ledger = sweep(tmp_path, "--retry-failed", **given)
    assert status == 1
    assert len(ledger.records[bad.id].attempts) == 2
    assert len(ledger.records[good.id].attempts) == 1


def test_a_shared_process_is_one_trial_whose_runs_find_what_they_find_alone(
    tmp_path: Path, ray_of_four: Any
) -> None:
    write_runs(tmp_path)
    save_model(tiny_model("bert", "masked_lm", hidden_size=16), tmp_path / "teacher")
    status, ledger = sweep(
        tmp_path,
        teachers={"big": {"model": str(tmp_path / "teacher")}},
        controls=False,
        search={
            WEIGHT: {"grid": [1, 2]},
            RATE: {"grid": [1e-3, 1e30]},
            "optimizer.warmup_fraction": {"grid": [0]},
        },
        trials_per_process=4,
    )
    assert status == 1
    for record in ledger.trials:
        is_good = record.coordinates[RATE] < 1
        assert record.state is (State.DONE if is_good else State.FAILED)
        (attempt,) = record.attempts
        assert attempt.error_class == (None if is_good else "NonFiniteLossError")
        (line,) = [line for line in logged(ledger, record.id).splitlines() if "by turns" in line]
        assert all(other.id in line for other in ledger.trials if other is not record)
        if is_good:
            alone = checked_run(
                record.config | {"output_uri": str(tmp_path / "alone")}, origin=record.id
            )
            train(alone)
            assert record.evaluations == tuple(evaluations(run_paths(alone).metrics))


def test_two_sweeps_at_once_build_a_stage_once(tmp_path: Path) -> None:
    train = {"train.num_steps": 40, "train.eval_every_steps": 20, "train.log_every_steps": 1}
    given = {"overrides": train, "search": {WEIGHT: {"grid": [1]}}}
    paths = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        path = write_sweep(
            write_runs(tmp_path / name), given | {"name": name, "runs_uri": str(tmp_path / "runs")}
        )
        paths.append(path)
    with drivers.started(paths[0]) as one, drivers.started(paths[1]) as other:
        drivers.finish(one, paths[0])
        drivers.finish(other, paths[1])
    (stage,) = (tmp_path / "runs").glob("teacher-*")
    lines = [json.loads(line) for line in (stage / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "train/loss" in line] == list(range(1, 41))
    for name in ("one", "other"):
        ledger = read_ledger(str(tmp_path / name / "sweeps" / name))
        assert {record.state for record in ledger.records.values()} == {State.DONE}
