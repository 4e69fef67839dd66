"""How long a run needs after a failure: from the kill to the next finished step, by kind.

    python tests/bench/recovery.py

A tiny model trains on two workers, each on a node of its own on this machine, and something is
killed or taken away; or `raykd train` itself is killed and the same command given again. Beside
it a bare TorchTrainer of Ray, which restarts its workers itself after one of them was killed.
Most of the time is the start of processes and the import of torch, of which there is one per
worker: fewer cores, longer times.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster
from ray.train import FailureConfig, ScalingConfig
from ray.train import RunConfig as RayRunConfig
from ray.train.torch import TorchTrainer
from raykd.config.load import as_yaml
from raykd.config.schema.run import RunConfig
from raykd.train.metrics import Record
from raykd.train.paths import run_paths
from rich.console import Console
from rich.table import Table

from tests.ray.faults import Faults, add_node, drain, kill, ray_of_nodes, remove_node, train
from tests.small_runs import small_data, small_run

NUM_STEPS = 1_500
KILL_STEP = 50
_POLL_SECONDS = 0.02


@dataclass(kw_only=True)
class Timed(Faults):
    """A fault at one step, and when the first step after it was finished."""

    failed_at: float = 0.0
    told_at: float = 0.0
    next_at: float = 0.0
    lost_steps: int = 0
    newest_step: int = field(default=0)

    def on_record(self, record: Record) -> None:
        if self.told_at and not self.next_at:
            self.next_at = time.monotonic()
            self.lost_steps = self.newest_step - int(record["step"]) + 1
        self.newest_step = int(record["step"])
        super().on_record(record)

    def on_message(self, text: str) -> None:
        self.told_at = self.told_at or time.monotonic()
        super().on_message(text)


def main() -> None:
    """Measure every kind of failure once, and print the table."""
    console = Console(width=100)
    table = Table("failure", "seconds to the next step", "steps taken again")
    with tempfile.TemporaryDirectory() as name, ray_of_nodes(num_nodes=2) as cluster:
        directory = Path(name)
        small_data(directory / "data")
        for kind, fault, cluster_changes in _faults(cluster):
            seconds, steps = _recovery(run_of(directory, kind, **cluster_changes), fault)
            table.add_row(kind, f"{seconds:.1f}", str(steps))
        table.add_row("a worker, Ray Train's own restart", f"{_rays_own(directory):.1f}", "-")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        small_data(directory / "data")
        for kind, num_workers in (("the driver of a worker", 1), ("a run in this process", 0)):
            config = run_of(directory, kind, num_workers=num_workers)
            table.add_row(f"{kind}, kill -9 and again", f"{_restart(config):.1f}", "")
    console.print(table)


def run_of(directory: Path, output: str, **cluster: Any) -> RunConfig:
    """Return a run with a checkpoint every 20 steps."""
    return small_run(
        directory,
        output_uri=str(directory / output.replace(" ", "-")),
        train__num_steps=NUM_STEPS,
        train__eval_every_steps=NUM_STEPS,
        checkpoint={"every_steps": 20},
        cluster={"num_workers": 2} | cluster,
    )


def _faults(cluster: Cluster) -> list[tuple[str, Callable[[], None], dict[str, Any]]]:
    def replace_node() -> None:
        """Take a node and bring another one: both workers go on at once."""
        remove_node(cluster)
        add_node(cluster)

    return [
        ("a worker", kill("RayTrainWorker"), {}),
        ("Ray Train's controller", kill("TrainController"), {}),
        ("a node, with a spare one", replace_node, {}),
        ("a node, going on with one worker", lambda: remove_node(cluster), {"min_workers": 1}),
        ("a machine taken away, announced", lambda: _drain(cluster), {"num_workers": 1}),
    ]


def _drain(cluster: Cluster) -> None:
    drain(cluster)
    add_node(cluster)


def _recovery(config: RunConfig, fault: Callable[[], None]) -> tuple[float, int]:
    timed = Timed()

    def fail() -> None:
        timed.failed_at = time.monotonic()
        fault()

    timed.at_step[KILL_STEP] = fail
    train(config, timed)
    return timed.next_at - timed.failed_at, timed.lost_steps


def _rays_own(directory: Path) -> float:
    """Return how long Ray Train's workers are away after one is killed."""
    log = directory / "steps"
    trainer = TorchTrainer(
        _bare_loop,
        train_loop_config={"log": str(log), "run": run_of(directory, "bare").name},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RayRunConfig(
            storage_path=str(directory / "ray"), failure_config=FailureConfig(max_failures=1)
        ),
    )
    raise NotImplementedError(trainer)
