"""JSON that every parser reads: a number that is not finite is null there, and NaN read back."""

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any


def text(value: object, *, indent: int | None = None) -> str:
    """Return a value as JSON in ASCII; a dataclass is an object of its fields."""
    return _dumped(value, indent=indent, ensure_ascii=True)


def file_content(value: object) -> bytes:
    """Return a value as a JSON file for people: indented, every script as it is."""
    readable = _dumped(value, indent=1, ensure_ascii=False)
    # Names of files may hold bytes that are no UTF-8, as surrogates: JSON can escape those.
    return readable.encode("utf-8", "backslashreplace")


def number(saved: float | None) -> float:
    """Return a number that was written as JSON."""
    return math.nan if saved is None else saved


def numbers(saved: Mapping[str, float | None]) -> dict[str, float]:
    """Return numbers that were written as a JSON object."""
    return {name: number(value) for name, value in saved.items()}


def _dumped(value: object, **options: Any) -> str:
    options |= {"allow_nan": False, "default": dataclasses.asdict}
    try:
        return json.dumps(value, **options)
    except ValueError:  # a number that is not finite; looking for one takes far longer
        return json.dumps(_finite(value), **options)


def _finite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _finite(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
