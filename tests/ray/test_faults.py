"""Workers, nodes and the controller of a run fail: the run ends as the one that went smoothly."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from ray.cluster_utils import Cluster
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from raykd.config.schema.run import RunConfig
from raykd.models.load import load_model
from raykd.runs.metrics import read_metrics
from raykd.runs.paths import run_paths

from tests.ray.support.faults import (
    Faults,
    add_node,
    drain,
    kill,
    ray_of_nodes,
    remove_node,
    train,
)
from tests.ray.support.running import processes_called
from tests.small_runs import TINY_BERT, small_data, small_run

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

NUM_STEPS = 150
EVERY_STEPS = 10


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with ray_of_nodes(num_nodes=2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("faults")
    small_data(directory / "data")
    return directory


def run_of(directory: Path, output: str, **changes: Any) -> RunConfig:
    return small_run(
        directory,
        **{
            "output_uri": str(directory / output),
            "student": {"architecture": TINY_BERT | {"dropout": 0.2}},
            "train__num_steps": NUM_STEPS,
            "train__eval_every_steps": NUM_STEPS,
            "checkpoint": {"every_steps": EVERY_STEPS},
            "cluster": {"num_workers": 2},
        }
        | changes,
    )


def weights(config: RunConfig) -> dict[str, torch.Tensor]:
    return dict(load_model(run_paths(config).model, config.task, labels=None).state_dict())


def assert_each_step_once(config: RunConfig) -> None:
    records = read_metrics(run_paths(config).metrics)
    steps = [int(record["step"]) for record in records if "train/loss" in record]
    assert config.train.num_steps is not None
    assert steps == list(range(1, config.train.num_steps + 1))


def step_of(message: str) -> int:
    return int(message.partition("continuing after step ")[2].split()[0])


def test_hung_and_killed_workers_and_a_dead_controller_change_nothing(
    cluster: Cluster, directory: Path
) -> None:
    smooth = run_of(directory, "smooth")
    assert train(smooth, Faults()).is_done
    config = run_of(
        directory, "bumpy", cluster={"num_workers": 2, "collective_timeout_seconds": 8}
    )
    stopped: list[int] = []

    def stop() -> None:
        process = processes_called("RayTrainWorker")[0]
        process.send_signal(signal.SIGSTOP)
        stopped.append(process.pid)

    def kill_the_next() -> None:
        """Each failure comes some steps after the run has gone on from the last one."""
        faults.at_step[step_of(faults.messages[-1]) + 20] = kill(titles.pop(0))

    titles = ["RayTrainWorker", "TrainController"]
    faults = Faults(
        at_step={22: stop},
        needs_checkpoint_of=config,
        at_message={"a worker hung": kill_the_next, "a worker died": kill_the_next},
    )
    assert train(config, faults).is_done
    hung, killed, controller = faults.messages
    assert len(stopped) == 1
    assert hung.startswith("a worker hung: worker ")
    assert "does not answer" in hung
    assert killed.startswith("a worker died: ")
    assert controller.startswith("Ray Train's controller died: ")
    for number, message in enumerate(faults.messages, 1):
        assert f"(failure {number} of 3 allowed)" in message
        assert step_of(message) >= EVERY_STEPS
    expected = weights(smooth)
    for name, tensor in weights(config).items():
        assert torch.equal(tensor, expected[name]), name
    assert_each_step_once(config)


@pytest.mark.long
def test_a_lost_node_is_done_without_until_there_is_room_again(
    cluster: Cluster, directory: Path
) -> None:
    changes: dict[str, Any] = {
        "student": {"architecture": TINY_BERT},
        # Rounding differs between numbers of workers, and Adam enlarges it.
        "optimizer": {"learning_rate": 1e-4},
        "train__num_steps": 6 * NUM_STEPS,
        "train__eval_every_steps": 6 * NUM_STEPS,
    }
    alone = run_of(directory, "alone", cluster={"num_workers": 0}, **changes)
    train(alone, Faults())
    config = run_of(directory, "lost", cluster={"num_workers": 2, "min_workers": 1}, **changes)
    occupied: list[PlacementGroup] = []

    def occupy() -> None:
        """Bring a node back, with room for the run only some steps later."""
        add_node(cluster)
        occupied.append(placement_group([{"CPU": 1}]))
        assert occupied[0].wait(60)
        faults.at_step[step_of(faults.messages[0]) + 40] = free

    def free() -> None:
        remove_placement_group(occupied[0])

    faults = Faults(
        at_step={22: lambda: remove_node(cluster)},
        needs_checkpoint_of=config,
        at_message={"1 of 2 workers train": occupy},
    )
    assert train(config, faults).is_done
    assert step_of(faults.messages[0]) >= EVERY_STEPS
    assert step_of(faults.messages[2]) > step_of(faults.messages[0])
    lost, fewer, more = faults.messages
    # Ray may need a quarter of a minute to know which it was.
    assert lost.startswith(("a node was lost: ", "a worker died: "))
    assert "(failure 1 of 3 allowed)" in lost
    assert fewer == "1 of 2 workers train until there is room for more"
    assert more.startswith("there is room for more workers; ")
    assert_each_step_once(config)
    expected = weights(alone)
    for name, tensor in weights(config).items():
        torch.testing.assert_close(tensor, expected[name], atol=1e-3, rtol=1e-3)


def test_a_machine_that_is_going_away_is_left_with_a_checkpoint(
    cluster: Cluster, directory: Path
) -> None:
    changes: dict[str, Any] = {
        "cluster": {"num_workers": 1, "max_failures": 0},
        "train__num_steps": 3 * NUM_STEPS,
        # Only the one that is written just in time lets the run continue.
        "checkpoint": {"every_steps": 10_000},
    }
    config = run_of(directory, "drained", **changes)
    left: list[str] = []
    faults = Faults(at_step={22: lambda: left.append(drain(cluster))})
    assert train(config, faults).is_done
    assert len(faults.messages) == 1
    assert faults.messages[0].startswith("a machine is being taken away (preemption 1); ")
    assert step_of(faults.messages[0]) >= 22
    assert_each_step_once(config)
