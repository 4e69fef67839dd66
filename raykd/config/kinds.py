"""Two kinds of configuration files, runs and sweeps, told apart by their keys.

Each command takes one of them; who gives the other is told the command for it.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from raykd.config.given import read_mapping
from raykd.config.schema.run import RunConfig
from raykd.config.schema.sweep import SweepConfig
from raykd.errors import ConfigError

KEYS_OF_RUNS = frozenset(field.name for field in fields(RunConfig))
KEYS_OF_SWEEPS = frozenset(field.name for field in fields(SweepConfig))


def is_sweep(path: Path) -> bool:
    """Tell whether a YAML file describes a sweep, not a run.

    Raises:
        ConfigError: The file cannot be read.
    """
    return _is_sweep(read_mapping(path))


def read_run_mapping(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Return what the file of a run holds, unchecked.

    Args:
        path: The file.
        overrides: What stands beside it on the command line, for the message alone.

    Raises:
        ConfigError: The file cannot be read, or is a sweep.
    """
    given = read_mapping(path)
    if _is_sweep(given):
        keys = " and ".join(f"'{key}:'" for key in given if key in KEYS_OF_SWEEPS - KEYS_OF_RUNS)
        message = (
            f"{path}: is a sweep, not a run: it has {keys}; "
            f"{_command('sweep', path, overrides)} runs it"
        )
        raise ConfigError(message)
    return given


def read_sweep_mapping(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Return what the file of a sweep holds, unchecked.

    Args:
        path: The file.
        overrides: What stands beside it on the command line, for the message alone.

    Raises:
        ConfigError: The file cannot be read, or is a run.
    """
    given = read_mapping(path)
    if not _is_sweep(given):
        message = (
            f"{path}: is a run, not a sweep, which has 'base:' and 'search:'; "
            f"{_command('train', path, overrides)} trains it, and raykd evaluate scores what it "
            "has trained"
        )
        raise ConfigError(message)
    return given


def _is_sweep(given: Mapping[str, object]) -> bool:
    """Tell by the keys, also where the one that every sweep has is forgotten."""
    # Both kinds have keys such as name, output_uri and teachers, which say nothing.
    is_of_run = bool(given.keys() & (KEYS_OF_RUNS - KEYS_OF_SWEEPS))
    is_of_sweep = bool(given.keys() & (KEYS_OF_SWEEPS - KEYS_OF_RUNS))
    return "base" in given or (is_of_sweep and not is_of_run)


def _command(name: str, path: Path, overrides: Sequence[str]) -> str:
    return shlex.join(["raykd", name, str(path), *overrides])
