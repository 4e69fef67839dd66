"""From YAML files and key=value overrides to frozen dataclasses, and back.

The only module that knows OmegaConf. Everything it returns is plain Python.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from raykd.config.schema.run import RunConfig
from raykd.errors import ConfigError

WITHOUT_EFFECT = ("output_uri", "cluster", "tracking")
"""Sections that do not change what a run computes, so they do not change its identity."""


def load_run(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read one run, apply overrides, check it, and return it frozen.

    Args:
        path: A YAML file shaped like RunConfig.
        overrides: Later wins, such as ``["optimizer.learning_rate=3e-5"]``.

    Raises:
        ConfigError: The file cannot be read, a key is unknown, a value has the wrong type,
            or the run contradicts itself. The message lists every contradiction.
    """
    given = _apply(_read(path), overrides)
    return checked_run(given, origin=str(path))


def checked_run(given: Any, *, origin: str) -> RunConfig:
    """Return a mapping shaped like RunConfig as a checked RunConfig.

    Raises:
        ConfigError: As ``load_run``; the message begins with the origin.
    """
    given = OmegaConf.create(given)
    try:
        run = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(RunConfig), given))
    except OmegaConfBaseException as error:
        raise _reported(origin, _key_problems(given) or [_described(error)]) from error
    run = cast("RunConfig", run)
    if found := run.problems():
        raise _reported(origin, found)
    return run


def plain(run: RunConfig) -> dict[str, Any]:
    """Return a run as nested dictionaries and lists, ready for JSON or YAML."""
    return cast("dict[str, Any]", json.loads(json.dumps(asdict(run))))


def as_yaml(run: RunConfig) -> str:
    """Return the resolved run as YAML that ``load_run`` reads back."""
    return yaml.safe_dump(plain(run), sort_keys=False, allow_unicode=True)


def run_id(run: RunConfig) -> str:
    """Return the run's name and a hash of everything that decides what it computes."""
    kept = {key: value for key, value in plain(run).items() if key not in WITHOUT_EFFECT}
    text = json.dumps(kept, sort_keys=True)
    return f"{run.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _read(path: Path) -> DictConfig:
    try:
        given = OmegaConf.load(path)
    except FileNotFoundError as error:
        message = f"{path}: no such file; a run is a YAML file such as configs/runs/*.yaml"
        raise ConfigError(message) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        message = f"{path}: cannot be read as YAML: {error}"
        raise ConfigError(message) from error
    if not isinstance(given, DictConfig):
        message = f"{path}: must hold a mapping of keys such as 'name:' and 'data:'"
        raise ConfigError(message)
    return given


def _apply(given: DictConfig, overrides: Sequence[str]) -> DictConfig:
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator or not key:
            message = f"override {override!r} must have the form key=value"
            raise ConfigError(message)
        try:
            value = OmegaConf.create(yaml.safe_load(text)) if text[:1] in "[{" else None
            replacement = yaml.safe_load(text) if value is None else value
            OmegaConf.update(given, key, replacement, merge=False)
        except (yaml.YAMLError, OmegaConfBaseException, TypeError) as error:
            message = f"override {override!r} cannot be applied: {_first_line(error)}"
            raise ConfigError(message) from error
    return given


def _reported(origin: str, problems: Sequence[str]) -> ConfigError:
    lines = "\n".join(f"  - {problem}" for problem in problems)
    return ConfigError(f"{origin}: {len(problems)} problem(s)\n{lines}")


def _key_problems(given: DictConfig) -> list[str]:
    """Merge each given key alone, so that one bad key does not hide the next."""
    schema = OmegaConf.structured(RunConfig)
    merged = schema
    found = []
    for path, value in _leaves(OmegaConf.to_container(given), ()):
        nested = value
        for key in reversed(path):
            nested = {key: nested}
        try:
            merged = OmegaConf.merge(merged, nested)
        except OmegaConfBaseException as error:
            found.append(_described(error))
    missing = [
        key
        for key in sorted(OmegaConf.missing_keys(merged))
        if not any(problem.startswith(f"{key}:") for problem in found)
    ]
    return found + [f"{key} is required" for key in missing]


def _leaves(node: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(node, dict) and node:
        for key, child in node.items():
            yield from _leaves(child, (*path, key))
    else:
        yield path, node


def _described(error: OmegaConfBaseException) -> str:
    return f"{error.full_key or '(top level)'}: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
