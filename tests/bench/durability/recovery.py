"""How long a run needs after a failure: from the kill to the next finished step, by kind.

    python tests/bench/durability/recovery.py

A tiny model trains on two workers, each on a node of its own on this machine, and something is
killed or taken away; or `raykd train` itself is killed and the same command given again. Beside
it a bare TorchTrainer of Ray, which restarts its workers itself after one of them was killed.
Most of the time is the start of processes and the import of torch, of which there is one per
worker: fewer cores, longer times.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from ray.cluster_utils import Cluster
from ray.train import FailureConfig, ScalingConfig
from ray.train import RunConfig as RayRunConfig
from ray.train.torch import TorchTrainer
from raykd.config.load import as_yaml
from raykd.config.schema.run import RunConfig
from raykd.runs.metrics import Record
from raykd.runs.paths import run_paths
from raykd.storage.leases.records import read_lease
from rich.console import Console

from tests.ray.support.faults import (
    Faults,
    add_node,
    drain,
    kill,
    ray_of_nodes,
    remove_node,
    train,
)
from tests.small_runs import small_data, small_run

NUM_STEPS = 600
KILL_STEP = 50
_POLL_SECONDS = 0.02
_LATE_SECONDS = 1.5
"""Steps that are heard of so soon after an attempt has ended are still its own."""


@dataclass(kw_only=True)
class Timed(Faults):
    """A fault at one step, and when the first step after it was finished."""

    failed_at: float = 0.0
    told_at: float = 0.0
    next_at: float = 0.0
    lost_steps: int = 0
    newest_step: int = field(default=0)

    def on_record(self, record: Record) -> None:
        is_late = time.monotonic() < self.told_at + _LATE_SECONDS
        if self.told_at and not is_late and not self.next_at:
            self.next_at = time.monotonic()
            self.lost_steps = self.newest_step - int(record["step"]) + 1
        self.newest_step = int(record["step"])
        super().on_record(record)

    def on_message(self, text: str) -> None:
        self.told_at = self.told_at or time.monotonic()
        super().on_message(text)


def main() -> None:
    """Measure every kind of failure once; print each line as soon as it is known."""
    console = Console(width=100, highlight=False)
    console.print(f"{'failure':45}{'seconds to the next step':>26}{'steps taken again':>20}")
    for kind, seconds, steps in _measured():
        console.print(f"{kind:45}{seconds:26.1f}{steps:>20}")


def _measured() -> Iterator[tuple[str, float, str]]:
    with tempfile.TemporaryDirectory() as name, ray_of_nodes(num_nodes=2) as cluster:
        directory = Path(name)
        small_data(directory / "data")
        yield "a worker, Ray Train's own restart", _rays_own(directory), ""
        for kind, fault, changes in _faults(cluster):
            seconds, steps = _recovery(run_of(directory, kind, **changes), fault)
            yield kind, seconds, str(steps)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        small_data(directory / "data")
        for kind, num_workers in (("the driver of a worker", 1), ("a run in this process", 0)):
            config = run_of(directory, kind, num_workers=num_workers)
            yield f"{kind}, kill -9 and again", _restart(config), ""


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
    """Return the seconds from a fault to the next step, and how many steps it took back."""
    timed = Timed()

    def fail() -> None:
        timed.failed_at = time.monotonic()
        fault()

    timed.at_step[KILL_STEP] = fail
    train(config, timed)
    return timed.next_at - timed.failed_at, timed.lost_steps


def _rays_own(directory: Path) -> float:
    """Return how long Ray Train's workers are away after one of them is killed."""
    log = directory / "bare.txt"
    log.touch()
    trainer = TorchTrainer(
        _bare_loop,
        train_loop_config={"log": str(log)},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RayRunConfig(
            storage_path=str(directory / "ray"), failure_config=FailureConfig(max_failures=1)
        ),
    )
    fitted = threading.Thread(target=trainer.fit)
    fitted.start()
    _wait_until(lambda: len(_lines(log)) > KILL_STEP)
    first = _lines(log)[0]
    start = time.monotonic()
    kill("RayTrainWorker")()
    _wait_until(lambda: _lines(log)[-1] != first)
    seconds = time.monotonic() - start
    fitted.join()
    return seconds


def _bare_loop(arguments: dict[str, Any]) -> None:
    """Take steps of nothing, together; the first worker writes its process id after each."""
    for _ in range(4 * KILL_STEP):
        torch.distributed.all_reduce(torch.ones(1))
        if torch.distributed.get_rank() == 0:
            with Path(arguments["log"]).open("a") as log:
                log.write(f"{os.getpid()}\n")
        time.sleep(0.05)


def _restart(config: RunConfig) -> float:
    """Return the seconds from killing `raykd train` to the first step of the same command."""
    metrics = Path(run_paths(config).metrics)
    program = _program(config)
    _wait_until(lambda: metrics.exists() and len(_lines(metrics)) > KILL_STEP)
    program.kill()
    program.wait()
    start = time.monotonic()
    program = _program(config)
    # A worker goes on for a while after its driver is dead: the lease passes on after it.
    _wait_until(lambda: _holder(config) == program.pid)
    known = set(_lines(metrics))
    _wait_until(lambda: not known.issuperset(_lines(metrics)))
    seconds = time.monotonic() - start
    program.kill()
    program.wait()
    return seconds


def _program(config: RunConfig) -> subprocess.Popen[bytes]:
    file = Path(config.output_uri).with_suffix(".yaml")
    file.write_text(as_yaml(config))
    return subprocess.Popen(
        [sys.executable, "-m", "raykd", "train", str(file)], stdout=subprocess.DEVNULL
    )


def _holder(config: RunConfig) -> int:
    lease = read_lease(run_paths(config).lease)
    return 0 if lease is None else lease.process_id


def _wait_until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(_POLL_SECONDS)


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


if __name__ == "__main__":
    main()
