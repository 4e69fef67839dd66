"""What a sweep costs beside its runs one by one, and what each trial of it costs beside training.

    python tests/bench/sweep.py [--small] [--rounds N]

First table: one teacher, four weights of its loss and three inits are 12 trials of masked language
modelling: students of 4 layers of width 256, a teacher of 8 of width 512, 30,522 words, an epoch
of rows of 128 tokens. The teacher is there before, with random weights. The trials are trained

    apart   by ``raykd train``, one after another, each beside a teacher that runs in it
    sweep   by ``raykd sweep`` in two processes: what the teacher says is kept once and read by
            all, and each process scores the vocabulary once for its trials

with one thread for each run, so both ways take the same steps: the program fails where a trial's
loss differs. CPU seconds are those of all processes, so that they tell more than wall seconds on a
machine that others use. Second table:
trials of Ray Tune, one at a time in one session of Ray, that do nothing, that import what training
needs, and that are runs of raykd of a single step.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raykd.config.load import load_sweep
from raykd.config.schema.sweep import NodeConfig
from raykd.config.yaml_text import write_yaml
from raykd.models.load import save_model
from raykd.sweep.grid.coordinates import run_labels
from raykd.sweep.plan.capacity import Machines
from raykd.sweep.plan.plan import SweepPlan, plan_sweep, require_runnable
from rich.console import Console
from rich.table import Table

from tests.bench.support.apart import Apart, Cost, loss_of, raykd, trained_apart
from tests.bench.support.token_set import wide_bert, write_token_set
from tests.bench.support.tune_trials import compare_trials

AT_ONCE = 2
MACHINES = Machines(nodes=(NodeConfig(cpus=AT_ONCE),), origin="given")
_NEARLY = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """How much to train."""

    teacher_layers: int
    student_layers: int
    words: int
    num_steps: int
    weights: tuple[float, ...]
    inits: tuple[dict[str, Any] | None, ...]
    trials_per_process: int
    tune_trials: int
    """Trials of each kind and round of the second table."""


_EVEN: dict[str, Any] = {"select": {}}
_FIRST: dict[str, Any] = {"select": {"indices": "first"}}

BATCH_ROWS = 16
EVAL_ROWS = 32

WHOLE = Size(
    teacher_layers=8,
    student_layers=4,
    words=30_522,
    num_steps=40,
    weights=(0.25, 0.5, 1.0, 2.0),
    inits=(None, _EVEN, _FIRST),
    trials_per_process=6,
    tune_trials=2,
)
SMALL_SIZE = Size(
    teacher_layers=3,
    student_layers=2,
    words=2_000,
    num_steps=4,
    weights=(1.0,),
    inits=(None, _EVEN),
    trials_per_process=2,
    tune_trials=1,
)


def main() -> int:
    """Compare the ways and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="2 trials of 4 steps instead of 12")
    parser.add_argument("--rounds", type=int, default=2, help="of the second table")
    options = parser.parse_args()
    size = SMALL_SIZE if options.small else WHOLE
    with tempfile.TemporaryDirectory(prefix="raykd-bench-") as directory:
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
    write_token_set(
        directory / "data",
        num_rows=size.num_steps * BATCH_ROWS,
        batch_rows=8,
        num_eval_rows=EVAL_ROWS,
        words=size.words,
    )
    save_model(wide_bert(num_layers=size.teacher_layers, words=size.words), directory / "teacher")
    path = write_study(directory, size)
    plan = plan_of(path)
    apart = trained_apart(plan, directory / "apart")
    cost = raykd("sweep", str(path))
    ended = plan_of(path)
    labels = run_labels(ended.records)
    together = {labels[run.record.id]: loss_of(run.config) for run in ended.trials}
    off = largest_difference(apart.losses, together)
    return whole_table(apart, cost, losses_apart=off)


def write_study(directory: Path, size: Size) -> Path:
    """Write the base and the sweep, whose teacher is there."""
    teacher = str(directory / "teacher")
    base = run_given(directory, size) | {
        "name": "base",
        "teachers": {"big": {"model": teacher}},
        "losses": {"cross_entropy": {}, "forward_kl": {}},
    }
    sweep = {
        "name": "study",
        "base": "base.yaml",
        "output_uri": str(directory / "sweeps"),
        "runs_uri": str(directory / "runs"),
        "teachers": {
            "big": {
                "model": teacher,
                "cache": {"mode": "hidden", "precision": "exact"},
            }
        },
        "search": {
            "losses.forward_kl.weight": {"grid": list(size.weights)},
            "student.init": {"grid": list(size.inits)},
        },
        "controls": False,
        "max_concurrent_trials": AT_ONCE,
        "trials_per_process": size.trials_per_process,
        "nodes": {"here": {"cpus": AT_ONCE}},
    }
    (directory / "base.yaml").write_text(write_yaml(base))
    path = directory / "sweep.yaml"
    path.write_text(write_yaml(sweep))
    return path


def run_given(directory: Path, size: Size) -> dict[str, Any]:
    """Return a masked-LM run in its own process."""
    return {
        "task": "masked_lm",
        "data": {"uri": str(directory / "data")},
        "output_uri": str(directory / "runs"),
        "student": {
            "architecture": {
                "model_type": "bert",
                "num_layers": size.student_layers,
                "hidden_size": 256,
                "num_heads": 4,
                "intermediate_size": 1024,
                "dropout": 0.0,
            }
        },
        "losses": {"cross_entropy": {}},
        "train": {
            "num_steps": size.num_steps,
            "global_batch_size": BATCH_ROWS,
            "micro_batch_size": BATCH_ROWS,
            "eval_every_steps": size.num_steps,
        },
        "checkpoint": {"every_steps": size.num_steps},
        "cluster": {"num_workers": 0},
    }


def plan_of(path: Path) -> SweepPlan:
    """Return the plan of a sweep file that can run."""
    plan = plan_sweep(load_sweep(path, []), machines=MACHINES)
    require_runnable(plan)
    return plan


def largest_difference(apart: Mapping[str, float], together: Mapping[str, float]) -> float:
    """Return how far the losses are apart at most; refuse ways that do different work."""
    if apart.keys() != together.keys():
        message = f"other trials: {sorted(apart)} and {sorted(together)}"
        raise RuntimeError(message)
    for label, loss in apart.items():
        if abs(loss - together[label]) > _NEARLY:
            message = f"{label}: loss {loss} apart and {together[label]} in the sweep"
            raise RuntimeError(message)
    return max(abs(loss - together[label]) for label, loss in apart.items())


def whole_table(apart: Apart, cost: Cost, *, losses_apart: float) -> Table:
    """Return what the sweep saves."""
    whole = apart.cost
    table = Table(
        title=f"{len(apart.costs)} trials of 1 teacher; losses equal to {losses_apart:.0e}"
    )
    table.add_column("way")
    for heading in ("wall s", "of apart", "CPU s", "of apart"):
        table.add_column(heading, justify="right")
    for way, taken in (
        ("apart, one after another, teacher live", whole),
        (f"raykd sweep, {AT_ONCE} processes, teacher cached", cost),
    ):
        table.add_row(
            way,
            f"{taken.wall_seconds:.0f}",
            f"{taken.wall_seconds / whole.wall_seconds:.3f}",
            f"{taken.cpu_seconds:.0f}",
            f"{taken.cpu_seconds / whole.cpu_seconds:.3f}",
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
