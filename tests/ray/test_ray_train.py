"""Runs on a real local Ray: killed workers change nothing, hopeless errors are not retried."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from raykd.config.schema.run import RunConfig
from raykd.errors import NonFiniteLossError, TrainingFailedError
from raykd.models.load import load_model
from raykd.ray_cluster.connect import LOCAL, ray_cluster
from raykd.runs.checkpoint import committed_steps
from raykd.runs.metrics import Record, read_metrics
from raykd.runs.paths import run_paths
from raykd.runs.result import RunResult
from raykd.storage import uris
from raykd.train.run import Listener, train_run

from tests.conftest import set_s3_environment
from tests.heaps import heaps_of_threads
from tests.ray.support.running import has_checkpoint, processes_called
from tests.servers.rclone import Rclone
from tests.small_runs import TINY_BERT, small_data, small_run

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

NUM_STEPS = 60


@pytest.fixture(scope="module", autouse=True)
def local_ray(rclone_server: Rclone) -> Iterator[None]:
    rclone_server.start()
    with pytest.MonkeyPatch.context() as monkeypatch:
        # Before Ray starts: its processes inherit this.
        set_s3_environment(
            monkeypatch,
            rclone_server.endpoint,
            access_key=rclone_server.access_key,
            secret_key=rclone_server.secret_key,
        )
        yield from started_ray()


def started_ray() -> Iterator[None]:
    with ray_cluster(LOCAL, num_cpus=3, num_gpus=0):
        import ray  # noqa: PLC0415  its environment is set above

        assert {node["NodeManagerAddress"] for node in ray.nodes()} == {"127.0.0.1"}
        yield


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    small_data(tmp_path / "data")
    return tmp_path


def ray_run(directory: Path, **changes: Any) -> RunConfig:
    return small_run(
        directory,
        **{
            "train__num_steps": NUM_STEPS,
            "train__eval_every_steps": NUM_STEPS // 2,
            "checkpoint": {"every_steps": 5},
            "cluster": {"num_workers": 2},
        }
        | changes,
    )


class WorkerKiller:
    """Kills one worker with SIGKILL, once, when a run reports a step and has a checkpoint."""

    def __init__(self, config: RunConfig, *, step: int) -> None:
        self._config = config
        self._step = step
        self._lock = threading.Lock()
        self.killed: list[int] = []
        self.newest_step = 0
        """Of the checkpoints that were there at the kill."""

        self.heaps: list[str] = []

    def __call__(self, record: Record) -> None:
        with self._lock:
            if self.killed or record["step"] < self._step or not has_checkpoint(self._config):
                return
            for worker in processes_called("RayTrainWorker")[:1]:
                self.heaps = heaps_of_threads(worker.pid)
                self.newest_step = committed_steps(run_paths(self._config).checkpoints)[-1]
                os.kill(worker.pid, signal.SIGKILL)
                self.killed.append(worker.pid)


def train(config: RunConfig, killer: WorkerKiller | None = None) -> tuple[RunResult, list[str]]:
    messages: list[str] = []
    listener = Listener(
        on_record=killer or (lambda _: None),
        on_message=messages.append,
        should_stop=lambda: False,
    )
    return train_run(config, fresh=False, address=LOCAL, listener=listener), messages


def weights(config: RunConfig) -> dict[str, torch.Tensor]:
    return dict(load_model(run_paths(config).model, config.task, labels=None).state_dict())


def test_a_killed_worker_of_a_sharded_student_changes_nothing(directory: Path) -> None:
    changes: dict[str, Any] = {
        "student": {"architecture": TINY_BERT | {"dropout": 0.2}},
        "cluster": {"num_workers": 2, "shard_student": True},
    }
    smooth = ray_run(directory, output_uri=str(directory / "smooth"), **changes)
    bumpy = ray_run(directory, **changes)
    train(smooth)
    killer = WorkerKiller(bumpy, step=12)
    result, messages = train(bumpy, killer)
    assert len(killer.killed) == len(messages) == 1
    # Its threads have none of their own, which would keep what checkpoints have ever taken.
    assert killer.heaps == []
    assert messages[0].startswith("a worker died: ")
    assert "(failure 1 of 3 allowed); continuing after step " in messages[0]
    assert (result.is_done, result.step) == (True, NUM_STEPS)
    expected = weights(smooth)
    for name, tensor in weights(bumpy).items():
        assert torch.equal(tensor, expected[name]), name
    steps = [r["step"] for r in read_metrics(run_paths(bumpy).metrics) if "train/loss" in r]
    assert steps == list(range(1, NUM_STEPS + 1))


def test_a_run_goes_on_with_another_number_of_workers(directory: Path) -> None:
    # A small learning rate: Adam turns rounding of tiny gradients into steps of this size.
    changes: dict[str, Any] = {"optimizer": {"learning_rate": 1e-3}}
    smooth = ray_run(
        directory, cluster={"num_workers": 0}, output_uri=str(directory / "smooth"), **changes
    )
    train(smooth)
    two = ray_run(directory, cluster={"num_workers": 2, "max_failures": 0}, **changes)
    killer = WorkerKiller(two, step=12)
    with pytest.raises(TrainingFailedError, match="the workers failed 1 times"):
        train(two, killer)
    left_at = committed_steps(run_paths(two).checkpoints)[-1]
    assert 0 < killer.newest_step <= left_at < NUM_STEPS
    three = ray_run(directory, cluster={"num_workers": 3}, **changes)
    assert run_paths(three) == run_paths(two)
    assert train(three)[0].is_done
    expected = weights(smooth)
    for name, tensor in weights(three).items():
        torch.testing.assert_close(tensor, expected[name], atol=1e-4, rtol=1e-4)


def test_a_diverged_run_is_not_tried_again(directory: Path) -> None:
    config = ray_run(directory, optimizer={"learning_rate": 1e30, "warmup_fraction": 0.0})
    with pytest.raises(NonFiniteLossError, match=r"step \d+: the loss is"):
        train(config)


def test_a_run_in_an_object_store_needs_nothing_local(directory: Path, rclone_uri: str) -> None:
    config = ray_run(
        directory,
        output_uri=f"{rclone_uri}/runs",
        cluster={"num_workers": 1},
        train__num_steps=4,
        train__eval_every_steps=4,
    )
    result, _ = train(config)
    assert result.model_uri == f"{run_paths(config).run}/model"
    assert result.is_done
    assert len(read_metrics(run_paths(config).metrics)) == 5
    # Nor does Ray leave anything there.
    assert uris.list_names(rclone_uri) == ["runs"]
    assert "ray" not in uris.list_names(run_paths(config).run)
