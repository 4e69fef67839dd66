"""From YAML files and key=value overrides to frozen dataclasses, and back.

The only module that knows OmegaConf. Everything it returns is plain Python.
"""

import functools
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar, cast

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from raykd.config.credentials import refuse_credentials, refuse_in_overrides
from raykd.config.given import apply_override, override_key, override_value
from raykd.config.keys import ANY_NAME, Schema, advice_for, key_doc
from raykd.config.kinds import (
    KEYS_OF_RUNS,
    KEYS_OF_SWEEPS,
    read_run_mapping,
    read_sweep_mapping,
)
from raykd.config.schema.run import RunConfig
from raykd.config.schema.sweep import SweepConfig
from raykd.config.spelling import as_fields, as_keys, spelling_problems
from raykd.config.yaml_text import write_yaml
from raykd.errors import ConfigError

_Parts = tuple[str, ...]

_NAMING_RUNS = ("teachers", "stages", "probes")
"""Sections of a sweep whose entries name run files."""

_UNFIT = (OmegaConfBaseException, TypeError, OverflowError)
"""What OmegaConf raises where a value does not fit its key."""


def load_run(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read one run, apply overrides, check it, and return it frozen.

    Args:
        path: A YAML file shaped like RunConfig.
        overrides: Later wins, such as ``["optimizer.learning_rate=3e-5"]``.

    Raises:
        ConfigError: The file cannot be read or is a sweep, a key is unknown, a value has the wrong
            type, or the run contradicts itself. The message lists every contradiction.
    """
    refuse_in_overrides(overrides)
    given = read_run_mapping(path, overrides)
    for override in overrides:
        apply_override(given, override)
    return checked_run(given, origin=str(path))


def load_sweep(path: Path, overrides: Sequence[str] = ()) -> SweepConfig:
    """Read one sweep, apply overrides, check it, and return it with the run files found.

    Args:
        path: A YAML file shaped like SweepConfig.
        overrides: Later wins. A key of a run is put among the sweep's own overrides; one of a
            teacher's run is ``teachers.NAME.overrides.KEY``.

    Raises:
        ConfigError: As ``load_run``; the file may be a run instead.
    """
    refuse_in_overrides(overrides)
    given = read_sweep_mapping(path, overrides)
    for override in overrides:
        _apply_to_sweep(given, override)
    beside = path.parent
    named = [e for name in _NAMING_RUNS for e in _mappings(given.get(name))]
    for section in [given, *named]:
        for key in ("base", "run"):
            # Relative to the file that names it, not to where the command is typed.
            if isinstance(section.get(key), str):
                section[key] = str(beside / section[key])
    return _checked(given, SweepConfig, origin=str(path))


def checked_run(given: Mapping[str, object], *, origin: str) -> RunConfig:
    """Return a mapping shaped like RunConfig as a checked RunConfig.

    Raises:
        ConfigError: As ``load_run``; the message begins with the origin.
    """
    return _checked(given, RunConfig, origin=origin)


def checked_sweep(given: Mapping[str, object], *, origin: str) -> SweepConfig:
    """Return a mapping shaped like SweepConfig as a checked SweepConfig.

    Raises:
        ConfigError: As ``load_run``; the message begins with the origin.
    """
    return _checked(given, SweepConfig, origin=origin)


def plain(config: RunConfig | SweepConfig) -> dict[str, Any]:
    """Return a configuration as nested dictionaries and lists, ready for JSON or YAML."""
    # Through JSON: tuples become lists, as they would be read back from the file.
    return as_keys(json.loads(json.dumps(asdict(config))))


def as_yaml(config: RunConfig | SweepConfig) -> str:
    """Return a resolved configuration as YAML that loads again."""
    return write_yaml(plain(config))


def _apply_to_sweep(given: dict[str, Any], override: str) -> None:
    """Put the value of an override in its place; a key of a run is one among the overrides."""
    key = override_key(override)
    first = key.partition(".")[0]
    if first not in KEYS_OF_SWEEPS:
        if first not in KEYS_OF_RUNS:
            message = f"override {override!r}: no such key; {advice_for(key, SweepConfig)}"
            raise ConfigError(message)
        for teacher in _mappings(given.get("teachers")):
            # The command line goes before what the file says of one teacher.
            _mapping(teacher.get("overrides")).pop(key, None)
        key = f"overrides.{key}"
    parents, is_of_run, key_of_run = f".{key}".partition(".overrides.")
    if not is_of_run:
        apply_override(given, override, SweepConfig)
        return
    section = given
    for parent in [*parents.split(".")[1:], "overrides"]:
        if not isinstance(section.get(parent), dict):
            section[parent] = {}
        section = section[parent]
    # The later is applied last: it may be a section around an earlier one.
    section.pop(key_of_run, None)
    section[key_of_run] = override_value(override, key_doc(key_of_run.split(".")))


def _mapping(section: object) -> dict[str, Any]:
    """Return a section that is a mapping: what else is there is found later."""
    return section if isinstance(section, dict) else {}


def _mappings(section: object) -> list[dict[str, Any]]:
    """Return the entries of a section that are mappings."""
    return [entry for entry in _mapping(section).values() if isinstance(entry, dict)]


_Config = TypeVar("_Config", RunConfig, SweepConfig)


def _checked(given: Mapping[str, object], schema: type[_Config], *, origin: str) -> _Config:
    # Before any problem is listed: problems repeat the values that they are about.
    refuse_credentials(given, origin=origin)
    # Both kinds pass OmegaConf without an error, so they are looked for before it.
    problems = _interpolation_problems(given)
    if schema is RunConfig:
        problems += _entry_problems(given)
    else:
        problems += spelling_problems(given)
        given = as_fields(given)
    _report(origin, problems)
    try:
        structured = _structured(schema)  # type: ignore[arg-type]  # a class is hashable
        # All at once: what is made from a frozen dataclass is read-only, so that nothing can be
        # set afterwards.
        merged = OmegaConf.merge(structured, OmegaConf.create(dict(given)))
        config: _Config = OmegaConf.to_object(merged)  # type: ignore[assignment]
    except _UNFIT:
        _report(origin, _key_problems(given, schema))
        raise
    _report(origin, [*_number_problems(config), *config.problems()])
    return config


@functools.cache
def _structured(schema: Schema) -> Any:
    """Return the schema as OmegaConf knows it; to merge it with anything makes a copy."""
    return OmegaConf.structured(schema)


def _report(origin: str, problems: Sequence[str]) -> None:
    if problems:
        lines = "\n".join(f"  - {problem}" for problem in problems)
        message = f"{origin}: {len(problems)} problem(s)\n{lines}"
        raise ConfigError(message)


def _interpolation_problems(given: Mapping[str, object]) -> list[str]:
    """Find what OmegaConf would replace, from the environment even."""
    return [
        f"{'.'.join(parts)}: ${{...}} is not replaced, write the value itself; got {value!r}"
        for parts, value in _walk(given)
        if not isinstance(value, Mapping) and "${" in str(value)
    ]


def _entry_problems(given: Mapping[str, object]) -> list[str]:
    """Find what OmegaConf lets pass: a section or list among plain values."""

    def is_wrong(parts: _Parts, value: object) -> bool:
        if isinstance(value, list) and any(isinstance(entry, Mapping | list) for entry in value):
            return True
        doc = key_doc(parts) if isinstance(value, Mapping | list) else None
        return doc is not None and doc.parts[-1] == ANY_NAME and not doc.is_section

    return [
        _key_problem(parts, value, RunConfig)
        for parts, value in _walk(given)
        if is_wrong(parts, value)
    ]


def _number_problems(config: RunConfig | SweepConfig) -> list[str]:
    return [
        f"{'.'.join(parts)} must be a finite number, got {value}"
        for parts, value in _walk(plain(config))
        if isinstance(value, float) and not math.isfinite(value)
    ]


def _key_problems(given: Mapping[str, object], schema: Schema) -> list[str]:
    """Return what is wrong with each key of a configuration that does not fit its schema."""
    problems, merged = _unfit_keys(given, schema)
    if missing := OmegaConf.missing_keys(merged):
        # A required key with a wrong value was not merged, and is told of already.
        missing -= {".".join(parts) for parts in problems}
        return [*problems.values(), *(f"{key} is required" for key in sorted(missing))]
    # What is left is a run, whose contradictions are told as well, but for sections with a bad
    # key: there one would only follow from the other.
    bad = {parts[0] for parts in problems}
    left = cast("RunConfig | SweepConfig", OmegaConf.to_object(merged)).problems()
    return [*problems.values(), *(p for p in left if re.split(r"[. ]", p)[0] not in bad)]


def _unfit_keys(given: Mapping[str, object], schema: Schema) -> tuple[dict[_Parts, str], Any]:
    """Merge each given key alone, so that one bad key does not hide the next.

    Returns:
        What is wrong with each bad key, and the schema with all others.
    """
    merged = _structured(schema)  # type: ignore[arg-type]  # a class is hashable
    problems: dict[_Parts, str] = {}
    for parts, value in _walk(given):
        if any(parts[: len(bad)] == bad for bad in problems):
            continue
        nested: object = {} if isinstance(value, Mapping) else value
        for part in reversed(parts):
            nested = {part: nested}
        try:
            merged = OmegaConf.merge(merged, nested)
        except _UNFIT:
            problems[parts] = _key_problem(parts, value, schema)
    return problems, merged


def _key_problem(parts: _Parts, value: object, schema: Schema) -> str:
    key = ".".join(parts)
    if (doc := key_doc(parts, schema)) is None:
        return f"{key}: no such key; {advice_for(key, schema)}"
    if doc.entry is not None and isinstance(value, list):
        for index, entry in enumerate(value):
            if isinstance(entry, dict) and (unfit := _unfit_keys(entry, doc.entry)[0]):
                return f"{key}[{index}].{next(iter(unfit.values()))}"
    return f"{key}: expected {doc.type_name}, got {'null' if value is None else repr(value)}"


def _walk(node: Mapping[str, object], parents: _Parts = ()) -> Iterator[tuple[_Parts, object]]:
    """Yield every key with its value, a section before what is in it."""
    for name, value in node.items():
        parts = (*parents, name)
        yield parts, value
        if isinstance(value, Mapping):
            yield from _walk(value, parts)
