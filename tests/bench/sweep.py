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
import statistics
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raykd.config.load import load_sweep
from raykd.config.schema.sweep import NodeConfig
from raykd.config.yaml_text import write_yaml
from raykd.sweep.coordinates import run_labels
from raykd.sweep.plan import SweepPlan, plan_sweep, require_runnable
from raykd.sweep.room import Machines
from rich.console import Console
from rich.table import Table

from tests.bench.apart import Apart, loss_of, raykd, trained_apart
from tests.bench.tune_trials import compare_trials

AT_ONCE = 2
MACHINES = Machines(nodes=(NodeConfig(cpus=AT_ONCE),), origin="given")
_NEARLY = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """How much to train."""

    num_steps: int
    seeds: tuple[int, ...]
    tune_trials: int
    """Trials of each kind and round of the second table."""


WHOLE = Size(num_steps=30, seeds=(1, 2, 3, 4), tune_trials=2)
SMALL_SIZE = Size(num_steps=4, seeds=(1,), tune_trials=1)


def main() -> int:
    """Compare the ways and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="3 trials of 4 steps instead of 12")
    parser.add_argument("--rounds", type=int, default=2, help="of the second table")
    options = parser.parse_args()
    size = SMALL_SIZE if options.small else WHOLE
    with tempfile.TemporaryDirectory(prefix="raykd-bench-") as directory:
        raykd("prepare", "--demo", "stdlib-docs", "--output", str(Path(directory, "data")))
        Console().print(compare_wholes(Path(directory), size))
        Console().print(
            compare_trials(
                Path(directory, "trials"),
                num_trials=size.tune_trials,
                rounds=1 if options.small else options.rounds,
            )
        )
    return 0


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
    plan = plan_sweep(load_sweep(path, []), machines=MACHINES)
    require_runnable(plan)
    return plan


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


if __name__ == "__main__":
    sys.exit(main())
