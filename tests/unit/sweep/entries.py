"""Sweeps expanded into their runs, and the runs told apart."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from raykd.config.schema.sweep import SweepConfig
from raykd.errors import ConfigError
from raykd.sweep.grid.entry import Entry

from tests.sweep_files import SMALL, expanded, sweep_in

INIT = "student.init"
HALVES = SMALL | {"milestones": [0.5, 1]}
LONGER = SMALL | {"overrides": {"train.num_steps": 8}}


def trials_of(directory: Path, **given: Any) -> list[Entry]:
    return expanded(sweep_in(directory, **given))[1]


def ids_of(sweep: SweepConfig) -> set[str]:
    """Return the ids of all runs, stages and trials."""
    stages, trials = expanded(sweep)
    return {entry.id for entry in [*stages, *trials]}


def identities(entries: Sequence[Entry]) -> list[tuple[Any, ...]]:
    return [(e.id, e.arm, e.control, e.needs) for e in entries]


def is_control(entry: Entry) -> bool:
    return entry.control == entry.id


def controls_in(entries: Sequence[Entry]) -> list[Entry]:
    return [entry for entry in entries if is_control(entry)]


def others_in(entries: Sequence[Entry]) -> list[Entry]:
    return [entry for entry in entries if not is_control(entry)]


def refusal(directory: Path, **given: Any) -> str:
    with pytest.raises(ConfigError) as error:
        expanded(sweep_in(directory, **given))
    return str(error.value)
