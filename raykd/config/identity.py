"""What makes two runs the same work: everything that decides what they compute, and no more."""

import dataclasses
import hashlib
import json
from typing import Any

from raykd.config.inputs import parts_of
from raykd.config.schema.run import RunConfig

RESULTS_VERSION = 2
"""Rises with every change of raykd that changes what a run computes, defaults among them."""

WITHOUT_EFFECT = ("output_uri", "checkpoint", "cluster", "tracking")
"""Sections that do not change what a run computes, so they do not change its identity."""


def run_id(run: RunConfig) -> str:
    """Return the run's name and a hash of everything that decides what it computes.

    An input whose fingerprint is known counts by that alone, wherever it lies.
    """
    stated = {key: value for key, value in _stated(run).items() if key not in WITHOUT_EFFECT}
    # Recording a trace and the place of a cache change no number.
    _drop(stated, ["train", "profile_steps"])
    for name in run.teachers:
        _drop(stated, ["teachers", name, "cache", "uri"])
    for key in run.inputs:
        *section, last = parts_of(key)
        for name in (last, "revision"):
            _drop(stated, [*section, name])
    # sort_keys: a mapping says the same in any order of its keys.
    text = json.dumps([RESULTS_VERSION, stated], sort_keys=True)
    # 32 bits: among a thousand runs of one name, two share a hash once in 10,000 studies.
    return f"{run.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _drop(stated: dict[str, Any], parts: list[str]) -> None:
    """Leave out a key, such as where something lies that is known by what it holds."""
    for part in parts[:-1]:
        stated = stated.get(part, {})
    stated.pop(parts[-1], None)


def _stated(value: object) -> Any:
    """Return a configuration without what is as by default: a key that is added renames no run."""
    if dataclasses.is_dataclass(value):
        return {
            field.name: _stated(getattr(value, field.name))
            for field in dataclasses.fields(value)
            # So a default must never change without RESULTS_VERSION.
            if getattr(value, field.name) != _default(field)
        }
    if isinstance(value, dict):
        return {key: _stated(entry) for key, entry in value.items()}
    return value


def _default(field: "dataclasses.Field[object]") -> object:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default
