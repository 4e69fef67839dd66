"""From YAML files and key=value overrides to frozen dataclasses, and back.

The only module that knows OmegaConf. Everything it returns is plain Python.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from raykd.config.keys import ANY_NAME, advice_for, key_doc
from raykd.config.schema.run import RunConfig
from raykd.config.yaml_text import read_yaml, write_yaml
from raykd.errors import ConfigError

WITHOUT_EFFECT = ("output_uri", "cluster", "tracking")
"""Sections that do not change what a run computes, so they do not change its identity."""

_Parts = tuple[str, ...]

_UNFIT = (OmegaConfBaseException, TypeError, OverflowError)
"""What OmegaConf raises where a value does not fit its key."""


def load_run(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read one run, apply overrides, check it, and return it frozen.

    Args:
        path: A YAML file shaped like RunConfig.
        overrides: Later wins, such as ``["optimizer.learning_rate=3e-5"]``.

    Raises:
        ConfigError: The file cannot be read, a key is unknown, a value has the wrong type,
            or the run contradicts itself. The message lists every contradiction.
    """
    given = _read(path)
    for override in overrides:
        _apply(given, override)
    return checked_run(given, origin=str(path))


def checked_run(given: Mapping[str, Any], *, origin: str) -> RunConfig:
    """Return a mapping shaped like RunConfig as a checked RunConfig.

    Raises:
        ConfigError: As ``load_run``; the message begins with the origin.
    """
    _report(origin, [*_interpolation_problems(given), *_entry_problems(given)])
    try:
        merged = OmegaConf.merge(OmegaConf.structured(RunConfig), OmegaConf.create(dict(given)))
        run = cast("RunConfig", OmegaConf.to_object(merged))
    except _UNFIT:
        _report(origin, _key_problems(given))
        raise
    _report(origin, [*_number_problems(run), *run.problems()])
    return run


def plain(run: RunConfig) -> dict[str, Any]:
    """Return a run as nested dictionaries and lists, ready for JSON or YAML."""
    return cast("dict[str, Any]", json.loads(json.dumps(asdict(run))))


def as_yaml(run: RunConfig) -> str:
    """Return the resolved run as YAML that ``load_run`` reads back."""
    return write_yaml(plain(run))


def run_id(run: RunConfig) -> str:
    """Return the run's name and a hash of everything that decides what it computes."""
    kept = {key: value for key, value in plain(run).items() if key not in WITHOUT_EFFECT}
    text = json.dumps(kept, sort_keys=True)
    return f"{run.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            given = read_yaml(stream)
    except FileNotFoundError as error:
        message = f"{path}: no such file; a run is a YAML file such as configs/runs/*.yaml"
        raise ConfigError(message) from error
    except (OSError, ValueError) as error:
        message = f"{path}: cannot be read as YAML: {error}"
        raise ConfigError(message) from error
    if given is not None and not isinstance(given, dict):
        message = f"{path}: must hold a mapping of keys such as 'name:' and 'data:'"
        raise ConfigError(message)
    return given or {}


def _apply(given: dict[str, Any], override: str) -> None:
    """Put the value of one override in its place, making the sections on the way."""
    key, separator, text = override.partition("=")
    *parents, last = key.split(".")
    if not separator or not all([*parents, last]):
        message = f"override {override!r} must have the form key=value, such as train.seed=3"
        raise ConfigError(message)
    section = given
    for parent in parents:
        if isinstance(section.get(parent), list):
            message = f"override {override!r}: {parent} is a list; give it whole, as in [a, b]"
            raise ConfigError(message)
        if not isinstance(section.get(parent), dict):
            section[parent] = {}
        section = section[parent]
    try:
        section[last] = read_yaml(text)
    except ValueError as error:
        message = f"override {override!r}: the value is no YAML: {error}; quote it"
        raise ConfigError(message) from error


def _report(origin: str, problems: Sequence[str]) -> None:
    if problems:
        lines = "\n".join(f"  - {problem}" for problem in problems)
        message = f"{origin}: {len(problems)} problem(s)\n{lines}"
        raise ConfigError(message)


def _interpolation_problems(given: Mapping[str, Any]) -> list[str]:
    """Find what OmegaConf would replace, from the environment even."""
    return [
        f"{'.'.join(parts)}: ${{...}} is not replaced, write the value itself; got {value!r}"
        for parts, value in _walk(given)
        if not isinstance(value, Mapping) and "${" in str(value)
    ]


def _entry_problems(given: Mapping[str, Any]) -> list[str]:
    """Find what OmegaConf lets pass: a section or list among plain values."""

    def is_wrong(parts: _Parts, value: Any) -> bool:
        if isinstance(value, list) and any(isinstance(entry, Mapping | list) for entry in value):
            return True
        doc = key_doc(parts) if isinstance(value, Mapping | list) else None
        return doc is not None and doc.parts[-1] == ANY_NAME and not doc.is_section

    return [_key_problem(parts, value) for parts, value in _walk(given) if is_wrong(parts, value)]


def _number_problems(run: RunConfig) -> list[str]:
    return [
        f"{'.'.join(parts)} must be a finite number, got {value}"
        for parts, value in _walk(plain(run))
        if isinstance(value, float) and not math.isfinite(value)
    ]


def _key_problems(given: Mapping[str, Any]) -> list[str]:
    """Merge each given key alone, so that one bad key does not hide the next."""
    merged = OmegaConf.structured(RunConfig)
    found: dict[_Parts, str] = {}
    for parts, value in _walk(given):
        if any(parts[: len(bad)] == bad for bad in found):
            continue
        nested: Any = {} if isinstance(value, Mapping) else value
        for part in reversed(parts):
            nested = {part: nested}
        try:
            merged = OmegaConf.merge(merged, nested)
        except _UNFIT:
            found[parts] = _key_problem(parts, value)
    if missing := OmegaConf.missing_keys(merged):
        missing -= {".".join(parts) for parts in found}
        return [*found.values(), *(f"{key} is required" for key in sorted(missing))]
    # What is left is a run, whose contradictions are told as well, but for sections with a bad
    # key: there one would only follow from the other.
    bad = {parts[0] for parts in found}
    left = cast("RunConfig", OmegaConf.to_object(merged)).problems()
    return [*found.values(), *(p for p in left if re.split(r"[. ]", p)[0] not in bad)]


def _key_problem(parts: _Parts, value: Any) -> str:
    key = ".".join(parts)
    if (doc := key_doc(parts)) is None:
        return f"{key}: no such key; {advice_for(key)}"
    return f"{key}: expected {doc.type_name}, got {'null' if value is None else repr(value)}"


def _walk(node: Mapping[str, Any], parents: _Parts = ()) -> Iterator[tuple[_Parts, Any]]:
    """Yield every key with its value, a section before what is in it."""
    for name, value in node.items():
        parts = (*parents, name)
        yield parts, value
        if isinstance(value, Mapping):
            yield from _walk(value, parts)
