"""Files of a sweep as a user writes them: a teacher, a base and the sweep, all tiny."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raykd.config.load import load_sweep
from raykd.config.schema.sweep import SweepConfig
from raykd.config.yaml_text import write_yaml
from raykd.runs.inputs import find_input
from raykd.sweep.grid.entry import Entry
from raykd.sweep.grid.expand import Expansion
from raykd.sweep.grid.space import random_draws
from raykd.sweep.record import Record

from tests.small_runs import TINY_BERT, small_data

SMALL = {"run": "teacher.yaml"}
"""A teacher of a sweep that is trained for six steps."""

WEIGHT = "losses.forward_kl.weight"

BOTH_LOSSES: dict[str, Any] = {"cross_entropy": {}, "forward_kl": {}}

_RUN: dict[str, Any] = {
    "task": "masked_lm",
    "student": {"architecture": TINY_BERT},
    "losses": {"cross_entropy": {}},
    "train": {
        "num_steps": 6,
        "global_batch_size": 8,
        "micro_batch_size": 4,
        "eval_every_steps": 3,
    },
    "cluster": {"num_workers": 0},
}


def write_runs(directory: Path, **base: Any) -> Path:
    """Write teacher.yaml, and base.yaml, whose student learns from a teacher that is not there.

    Args:
        directory: Where data lies too, or is written.
        base: Sections of the base that take the place of what is in it.
    """
    if not (directory / "data").exists():
        small_data(directory / "data")
    run = _RUN | {"data": {"uri": str(directory / "data")}}
    student = {"name": "student", "teachers": {"old": {"model": "not-there"}}}
    (directory / "teacher.yaml").write_text(write_yaml(run | {"name": "teacher"}))
    (directory / "base.yaml").write_text(
        write_yaml(run | student | {"losses": BOTH_LOSSES} | base)
    )
    return directory


def write_sweep(directory: Path, given: Mapping[str, Any]) -> Path:
    """Write sweep.yaml beside its runs, and return its path."""
    whole = {
        "name": "study",
        "base": "base.yaml",
        "output_uri": str(directory / "sweeps"),
        "runs_uri": str(directory / "runs"),
        "teachers": {"small": SMALL},
        **given,
    }
    path = directory / "sweep.yaml"
    path.write_text(write_yaml(whole))
    return path


def sweep_in(directory: Path, **given: Any) -> SweepConfig:
    """Return a sweep of the run files in a directory, read from its own file."""
    return load_sweep(write_sweep(directory, given))


def expanded(sweep: SweepConfig) -> tuple[list[Entry], list[Entry]]:
    """Return the stages and the trials of a sweep whose searcher is random.

    Tuned keys have the first of their values.
    """
    expansion = Expansion(sweep, functools.cache(find_input))
    draws = [random_draws(sweep, index) for index in range(sweep.num_samples)]
    runs = expansion.runs(draws)
    return list(expansion.stages), [*runs.trials, *runs.undecided]


def record_of(entry: Entry) -> Record:
    """Return a run as the ledger has it, before anything about its steps is known."""
    return Record(
        id=entry.id,
        kind=entry.kind,
        run_uri="",
        coordinates=entry.coordinates,
        arm=entry.arm,
        seed=entry.config.train.seed,
        control=entry.control,
        config={},
        num_steps=0,
        planned_tokens=0,
        points=entry.points,
    )
