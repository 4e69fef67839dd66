"""What a sweep costs beside its runs one by one, and what each trial of it costs beside training.

    python tests/bench/sweep.py [--small] [--rounds N]

First table: two teachers, four seeds and the controls of these are 12 trials. They are trained

    apart   by ``raykd train``, one after another: each of the eight that have a teacher trains it
            first, as one does without a sweep; the controls need none
    sweep   by ``raykd sweep``: each teacher once, two runs at a time

with one thread for each run, so both ways take the same steps: the program fails where a trial's
loss differs. Second table: trials of Ray Tune, one at a time in one session of Ray, that do
nothing, that import what training needs, and that are runs of raykd of a single step.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from raykd.cli.quiet import quiet_libraries
from raykd.config.load import as_yaml, load_sweep
from raykd.config.schema.run import RunConfig
from raykd.config.schema.sweep import NodeConfig
from raykd.config.yaml_text import write_yaml
from raykd.sweep.coordinates import run_labels
from raykd.sweep.ledger import State
from raykd.sweep.plan import SweepPlan, plan_sweep, require_runnable
from raykd.train.paths import run_paths
from raykd.train.ray_cluster import LOCAL, ray_cluster
from raykd.train.worker import read_result
from raykd.tune.run import SweepOptions, run_sweep
from rich.console import Console
from rich.table import Table

AT_ONCE = 2
NODES = (NodeConfig(cpus=AT_ONCE),)
_NEARLY = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """How much to train."""

    num_steps: int
    seeds: tuple[int, ...]
    tune_trials: int
    """Trials of each kind and round of the second table."""


WHOLE = Size(num_steps=60, seeds=(1, 2, 3, 4), tune_trials=3)
SMALL_SIZE = Size(num_steps=4, seeds=(1,), tune_trials=1)


def main() -> int:
    """Compare the ways and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="3 trials of 4 steps instead of 12")
    parser.add_argument("--rounds", type=int, default=3, help="of the second table")
    options = parser.parse_args()
    size = SMALL_SIZE if options.small else WHOLE
    with tempfile.TemporaryDirectory(prefix="raykd-bench-") as directory:
        raykd("prepare", "--demo", "stdlib-docs", "--output", str(Path(directory, "data")))
        whole = compare_wholes(Path(directory), size)
        Console().print(whole)
        trials = compare_trials(
            Path(directory), size, rounds=1 if options.small else options.rounds
        )
        Console().print(trials)
    return 0


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


# First table: a sweep beside its runs one by one


def compare_wholes(directory: Path, size: Size) -> Table:
    """Train all trials in both ways.

    Raises:
        RuntimeError: A trial has another loss in one way than in the other.
    """
    path = write_study(directory, size)
    plan = plan_of(path)
    apart = trained_apart(plan, directory / "apart")
    seconds = raykd("sweep", str(path))
    ended = plan_of(path)
    labels = run_labels(ended.records)
    together = {labels[run.record.id]: loss_of(run.config) for run in ended.trials}
    require_same(apart.losses, together)
    return whole_table(apart, seconds, num_stages=len(plan.stages))


def write_study(directory: Path, size: Size) -> Path:
    """Write the teachers, the base and the sweep."""
    given = run_given(directory, num_layers=2, num_steps=size.num_steps)
    teachers: dict[str, Any] = {"teachers": {"small": {"model": "not-there"}}}
    losses: dict[str, Any] = {"losses": {"cross_entropy": {}, "forward_kl": {}}}
    student = run_given(directory, num_layers=4, num_steps=size.num_steps)
    sweep = {
        "name": "study",
        "base": "base.yaml",
        "output_uri": str(directory / "sweeps"),
        "runs_uri": str(directory / "runs"),
        "teachers": {
            "tiny": {
                "run": "teacher.yaml",
                "overrides": {"student.architecture.num_layers": 1},
            },
            "small": {"run": "teacher.yaml"},
        },
        "seeds": list(size.seeds),
        "max_concurrent_trials": AT_ONCE,
        "nodes": {"here": {"cpus": AT_ONCE}},
    }
    texts = {"teacher": given, "base": student | teachers | losses, "sweep": sweep}
    for name, content in texts.items():
        (directory / f"{name}.yaml").write_text(write_yaml({"name": name} | content))
    return directory / "sweep.yaml"


def run_given(directory: Path, *, num_layers: int, num_steps: int) -> dict[str, Any]:
    """Return a masked-LM run in its own process."""
    return {
        "task": "masked_lm",
        "data": {"uri": str(directory / "data")},
        "output_uri": str(directory / "runs"),
        "student": {
            "architecture": {
                "model_type": "bert",
                "num_layers": num_layers,
                "hidden_size": 128,
                "num_heads": 2,
                "intermediate_size": 512,
                "dropout": 0.0,
            }
        },
        "losses": {"cross_entropy": {}},
        "train": {
            "num_steps": num_steps,
            "global_batch_size": 32,
            "micro_batch_size": 32,
            "eval_every_steps": num_steps,
        },
        "checkpoint": {"every_steps": num_steps},
        "cluster": {"num_workers": 0},
    }


def plan_of(path: Path) -> SweepPlan:
    """Return the plan of a sweep file that can run."""
    plan = plan_sweep(load_sweep(path, []), nodes=NODES)
    require_runnable(plan)
    return plan


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


def require_same(apart: Mapping[str, float], together: Mapping[str, float]) -> None:
    """Refuse a comparison of ways that do different work."""
    if apart.keys() != together.keys():
        message = f"other trials: {sorted(apart)} and {sorted(together)}"
        raise RuntimeError(message)
    for label, loss in apart.items():
        if abs(loss - together[label]) > _NEARLY:
            message = f"{label}: loss {loss} apart and {together[label]} in the sweep"
            raise RuntimeError(message)


def whole_table(apart: Apart, seconds: float, *, num_stages: int) -> Table:
    """Return what the sweep saves, and by what."""
    each = statistics.fmean(apart.teacher_seconds)
    shared = sum(apart.student_seconds) + num_stages * each
    table = Table(
        title=f"{len(apart.student_seconds)} trials, {num_stages} teachers; losses equal to "
        f"{_NEARLY:g}"
    )
    table.add_column("way")
    for heading in ("runs", "seconds", "of apart"):
        table.add_column(heading, justify="right")
    num_trials = len(apart.student_seconds)
    for way, num_runs, taken in (
        ("apart, one after another", num_trials + len(apart.teacher_seconds), apart.seconds),
        ("apart, each teacher counted once", num_trials + num_stages, shared),
        (f"raykd sweep, {AT_ONCE} at a time", num_trials + num_stages, seconds),
    ):
        table.add_row(way, str(num_runs), f"{taken:.0f}", f"{taken / apart.seconds:.3f}")
    table.add_section()
    table.add_row("from sharing teachers", "", "", f"x {shared / apart.seconds:.3f}")
    table.add_row(f"from {AT_ONCE} at a time", "", "", f"x {seconds / shared:.3f}")
    return table


# Second table: a trial beside the same trial of Ray Tune alone


def compare_trials(directory: Path, size: Size, *, rounds: int) -> Table:
    """Time trials of one session of Ray, the kinds of them in turn."""
    quiet_libraries()
    seconds: dict[str, list[float]] = {}
    with ray_cluster(LOCAL, num_cpus=AT_ONCE, num_gpus=0):
        # The first trial waits for Ray itself.
        tune_trials(nothing, 1)
        for index in range(rounds):
            kinds: dict[str, Callable[[], None]] = {
                "Ray Tune, empty": partial(tune_trials, nothing, size.tune_trials),
                "Ray Tune, imports": partial(tune_trials, imports, size.tune_trials),
                "raykd, a run of 1 step": partial(
                    one_step_runs, directory / f"round-{index}", size.tune_trials
                ),
            }
            for kind, trials in kinds.items():
                started_at = time.monotonic()
                trials()
                taken = (time.monotonic() - started_at) / size.tune_trials
                seconds.setdefault(kind, []).append(taken)
    return trial_table(seconds, size.tune_trials)


def nothing(_arguments: dict[str, Any]) -> None:
    """Do nothing: what is left is Ray Tune."""


def imports(_arguments: dict[str, Any]) -> None:
    """Import what any training of these models needs."""
    import torch  # noqa: F401, PLC0415
    from transformers import BertForMaskedLM  # noqa: F401, PLC0415


def tune_trials(trial: Callable[[dict[str, Any]], None], number: int) -> None:
    """Run trials of Ray Tune one at a time, set up as raykd sets it up."""
    from ray import tune  # noqa: PLC0415  its environment is set by ray_cluster

    with tempfile.TemporaryDirectory(prefix="raykd-bench-") as scratch:
        tune.Tuner(
            tune.with_resources(trial, {"CPU": 1}),
            tune_config=tune.TuneConfig(
                num_samples=number, max_concurrent_trials=1, reuse_actors=False
            ),
            run_config=tune.RunConfig(storage_path=scratch, verbose=0),
        ).fit()


def one_step_runs(directory: Path, number: int) -> None:
    """Run a sweep of runs that differ by their seed, one at a time."""
    directory.mkdir()
    given = run_given(directory, num_layers=2, num_steps=1)
    given["data"] = {"uri": str(directory.parent / "data"), "eval_split": None}
    (directory / "base.yaml").write_text(write_yaml({"name": "base"} | given))
    sweep = {
        "name": "starts",
        "base": "base.yaml",
        "output_uri": str(directory / "sweeps"),
        "seeds": list(range(number)),
        "max_concurrent_trials": 1,
    }
    path = directory / "sweep.yaml"
    path.write_text(write_yaml(sweep))
    ledger = run_sweep(plan_of(path), SweepOptions(address=LOCAL), on_step=lambda _: None)
    states = {record.state for record in ledger.records.values()}
    if states != {State.DONE}:
        message = f"runs of one step ended as {states}"
        raise RuntimeError(message)


def trial_table(seconds: Mapping[str, list[float]], number: int) -> Table:
    """Return the seconds of a trial of each kind, and what it has beyond the one before."""
    table = Table(title=f"seconds of one trial: medians of rounds of {number}, one at a time")
    table.add_column("trial")
    for heading in ("seconds", "range", "beyond the one above"):
        table.add_column(heading, justify="right")
    above: float | None = None
    for kind, taken in seconds.items():
        median = statistics.median(taken)
        beyond = "" if above is None else f"{median - above:+.2f}"
        table.add_row(kind, f"{median:.2f}", f"{min(taken):.2f} to {max(taken):.2f}", beyond)
        above = median
    return table


if __name__ == "__main__":
    sys.exit(main())
