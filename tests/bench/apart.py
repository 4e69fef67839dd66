"""The trials of a sweep as one trains them without sweeps: one by one, each with its teacher."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from raykd.config.load import as_yaml
from raykd.config.schema.run import RunConfig
from raykd.sweep.coordinates import run_labels
from raykd.sweep.plan import SweepPlan
from raykd.train.paths import run_paths
from raykd.train.worker import read_result


def raykd(*arguments: str) -> float:
    """Run the command in a process of its own with one thread; return its seconds."""
    started_at = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "raykd", *arguments],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        message = f"{arguments}\n{done.stdout}{done.stderr}"
        raise RuntimeError(message)
    return time.monotonic() - started_at


@dataclass(frozen=True, kw_only=True, slots=True)
class Apart:
    """Trials that were trained one by one."""

    teacher_seconds: list[float]
    """Of each time that a teacher was trained."""

    student_seconds: list[float]
    losses: dict[str, float]
    """By the trials' coordinates."""

    @property
    def seconds(self) -> float:
        """Of all together."""
        return sum(self.teacher_seconds) + sum(self.student_seconds)


def trained_apart(plan: SweepPlan, directory: Path) -> Apart:
    """Train each trial of a plan in a directory of its own, its teacher first."""
    stages = {run.record.id: run.config for run in plan.stages}
    labels = run_labels(plan.records)
    apart = Apart(teacher_seconds=[], student_seconds=[], losses={})
    for run in plan.trials:
        place = directory / run.record.id
        student = moved(run.config, place)
        for stage in (stages[needed] for needed in run.record.needs):
            teacher = moved(stage, place)
            apart.teacher_seconds.append(trained(teacher, place))
            student = with_teacher_at(student, run_paths(stage).run, run_paths(teacher).run)
        apart.student_seconds.append(trained(student, place))
        apart.losses[labels[run.record.id]] = loss_of(student)
    return apart


def moved(config: RunConfig, place: Path) -> RunConfig:
    """Return a run as a user writes it who knows of no sweep."""
    return replace(config, inputs={}, output_uri=str(place))


def with_teacher_at(config: RunConfig, before: str, after: str) -> RunConfig:
    """Return a run whose teacher was made by another run of the same."""
    teachers = {
        name: replace(teacher, model=teacher.model.replace(before, after))
        for name, teacher in config.teachers.items()
    }
    return replace(config, teachers=teachers)


def trained(config: RunConfig, place: Path) -> float:
    """Train a run with the command line; return the seconds of its process."""
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
