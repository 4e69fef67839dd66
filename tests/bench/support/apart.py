"""The trials of a sweep as one trains them without sweeps: one by one, each with its teacher."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
from raykd.config.load import as_yaml
from raykd.config.schema.run import RunConfig
from raykd.runs.paths import run_paths
from raykd.runs.result import read_result
from raykd.sweep.grid.coordinates import run_labels
from raykd.sweep.plan.plan import SweepPlan

_POLL_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What commands took."""

    wall_seconds: float
    cpu_seconds: float
    """Of all their processes, Ray's too; the last moments of each process are missed."""

    def __add__(self, other: "Cost") -> "Cost":
        """Return what both took, one after the other."""
        return Cost(
            wall_seconds=self.wall_seconds + other.wall_seconds,
            cpu_seconds=self.cpu_seconds + other.cpu_seconds,
        )


def raykd(*arguments: str) -> Cost:
    """Run the command in a process of its own with one thread; return what it took."""
    spent: dict[psutil.Process, float] = {}
    started_at = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-m", "raykd", *arguments],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        output = None
        while output is None:
            try:
                output, _ = process.communicate(timeout=_POLL_SECONDS)
            except subprocess.TimeoutExpired:
                note_cpu(process.pid, spent)
    if process.returncode:
        message = f"{arguments}\n{output}"
        raise RuntimeError(message)
    return Cost(
        wall_seconds=time.monotonic() - started_at, cpu_seconds=sum(spent.values(), start=0.0)
    )


def note_cpu(process_id: int, spent: dict[psutil.Process, float]) -> None:
    """Note the CPU seconds so far of a process and of all that it has started."""
    try:
        root = psutil.Process(process_id)
        processes = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for each in processes:
        try:
            times = each.cpu_times()
        except psutil.NoSuchProcess:
            continue
        spent[each] = times.user + times.system


@dataclass(frozen=True, kw_only=True, slots=True)
class Apart:
    """Trials that were trained one by one."""

    costs: list[Cost]
    losses: dict[str, float]
    """By the trials' coordinates."""

    @property
    def cost(self) -> Cost:
        """Of all together."""
        return sum(self.costs, start=Cost(wall_seconds=0.0, cpu_seconds=0.0))


def trained_apart(plan: SweepPlan, directory: Path) -> Apart:
    """Train each trial of a plan in a directory of its own, its teacher beside it."""
    labels = run_labels(plan.records)
    apart = Apart(costs=[], losses={})
    for run in plan.trials:
        config = alone(run.config, directory / run.record.id)
        apart.costs.append(trained(config, directory / run.record.id))
        apart.losses[labels[run.record.id]] = loss_of(config)
    return apart


def alone(config: RunConfig, place: Path) -> RunConfig:
    """Return a run as a user writes it who knows of no sweep: its teacher runs in it."""
    teachers = {name: replace(teacher, cache=None) for name, teacher in config.teachers.items()}
    return replace(config, inputs={}, output_uri=str(place), teachers=teachers)


def trained(config: RunConfig, place: Path) -> Cost:
    """Train a run with the command line; return what its processes took."""
    place.mkdir(parents=True, exist_ok=True)
    path = place / f"{config.name}.yaml"
    path.write_text(as_yaml(config))
    return raykd("train", str(path))


def loss_of(config: RunConfig) -> float:
    """Return the loss at the end of a run."""
    result = read_result(run_paths(config))
    if result is None:
        message = f"{run_paths(config).run}: is not done"
        raise RuntimeError(message)
    return result.metrics["eval/loss"]
