"""Losses of a small run of every task with a teacher, kept as text beside this file.

What computes other numbers fails ``test_curves.py`` until ``RESULTS_VERSION`` is raised; then

    python -m tests.golden.curves

writes them anew.
"""

import sys
import tempfile
from pathlib import Path
from typing import get_args

import torch
from raykd.config.identity import RESULTS_VERSION
from raykd.config.schema.run import RunConfig, TaskName
from raykd.runs.metrics import read_metrics
from raykd.runs.paths import run_paths
from raykd.train.run import Listener, train_run

from tests.small_runs import TINY_BERT, TINY_LLAMA, small_data, small_run

TASKS: tuple[TaskName, ...] = get_args(TaskName)

RELATIVE_TOLERANCE = 1e-4
"""CPUs of other kinds add in other orders, and twenty steps of AdamW make more of it."""

_NUM_STEPS = 20


def losses(task: TaskName, directory: Path) -> list[float]:
    """Return the loss of every step of a student that is distilled from a trained teacher."""
    small_data(directory / "data")
    architecture = TINY_LLAMA if task == "causal_lm" else TINY_BERT
    teacher = small_run(
        directory,
        name="teacher",
        task=task,
        student={"architecture": dict(architecture)},
        train__num_steps=6,
    )
    _train(teacher)
    student = small_run(
        directory,
        name="student",
        task=task,
        teachers={"small": {"model": run_paths(teacher).run}},
        student={"architecture": architecture | {"num_layers": 3}, "init": {"remap": {}}},
        losses={
            "cross_entropy": {},
            "forward_kl": {"weight": "1 -> 0.5", "temperature": 2},
            "hidden_states": {"weight": 0.1},
        },
        train__num_steps=_NUM_STEPS,
    )
    _train(student)
    records = read_metrics(run_paths(student).metrics)
    return [float(record["train/loss"]) for record in records if "train/loss" in record]


def read_curve(task: TaskName) -> tuple[int, list[float]]:
    """Return the version of results that a stored curve belongs to, and its losses."""
    first, *lines = _file(task).read_text(encoding="utf-8").splitlines()
    return int(first.rsplit(" ", 1)[1]), [float(line.split()[1]) for line in lines]


def write_curve(task: TaskName, curve: list[float]) -> None:
    """Store a curve under the present version of results."""
    rows = [f"{step:2d} {loss:.9g}" for step, loss in enumerate(curve, start=1)]
    text = "\n".join([f"step and loss, version of results {RESULTS_VERSION}", *rows, ""])
    _file(task).write_text(text, encoding="utf-8")


def _file(task: TaskName) -> Path:
    return Path(__file__).with_name(f"{task}.txt")


def _train(config: RunConfig) -> None:
    listener = Listener(
        on_record=lambda _: None, on_message=lambda _: None, should_stop=lambda: False
    )
    train_run(config, fresh=False, address="local", listener=listener)


def _main() -> None:
    # As in the tests: threads of tiny tensors only wait for one another.
    torch.set_num_threads(1)
    for task in TASKS:
        if _file(task).exists() and read_curve(task)[0] == RESULTS_VERSION:
            sys.exit(f"{task}: its curve is of this version; raise RESULTS_VERSION first")
        with tempfile.TemporaryDirectory() as directory:
            write_curve(task, losses(task, Path(directory)))


if __name__ == "__main__":
    _main()
