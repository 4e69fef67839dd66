"""Short names for what tells trials apart. Different values never get the same text."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from raykd.sweep.ledger import Record


def short_keys(keys: Iterable[str]) -> dict[str, str]:
    """Return each key's shortest suffix of whole parts that no other key ends with."""
    all_keys = list(dict.fromkeys(keys))
    suffixes = {key: _suffixes(key) for key in all_keys}
    return {
        key: next(
            suffix
            for suffix in suffixes[key]
            if suffix == key
            or all(suffix not in suffixes[other] for other in all_keys if other != key)
        )
        for key in all_keys
    }


def value_text(value: object) -> str:
    """Return a value in short: a section's method alone, the last part of a URI."""
    if value is None:
        return "none"
    if isinstance(value, float):
        # Six digits: _texts writes both in full where two values agree in these.
        return f"{value:g}"
    if isinstance(value, str):
        is_place = "://" in value or value.startswith("/")
        return value.rstrip("/").rsplit("/", 1)[-1] or value if is_place else value
    if isinstance(value, Mapping) and len(value) == 1:
        return str(next(iter(value)))
    if isinstance(value, list | tuple):
        return ",".join(value_text(item) for item in value)
    return _exact(value)


@dataclass(frozen=True, kw_only=True, slots=True)
class Coordinates:
    """The coordinates of all arms, in short and in full."""

    names: dict[str, str]
    """Key to its short name."""

    texts: dict[str, dict[str, str]]
    """Arm to key to its value in short; equal only where the values are."""

    values: dict[str, dict[str, Any]]
    """Arm to key to its value."""

    def label(self, arm: str) -> str:
        """Return an arm's coordinates on one line; empty where it has none."""
        return " ".join(f"{self.names[key]}={text}" for key, text in self.texts[arm].items())


def coordinates_of(arms: Mapping[str, Record]) -> Coordinates:
    """Return the coordinates of arms.

    Args:
        arms: Arm to one of its trials.
    """
    keys = dict.fromkeys(key for record in arms.values() for key in record.coordinates)
    names = short_keys(keys)
    texts = {
        key: _texts(r.coordinates[key] for r in arms.values() if key in r.coordinates)
        for key in keys
    }
    return Coordinates(
        names=names,
        texts={
            arm: {key: texts[key][_exact(value)] for key, value in record.coordinates.items()}
            for arm, record in arms.items()
        },
        values={arm: record.coordinates for arm, record in arms.items()},
    )


def arm_labels(arms: Mapping[str, Record], coordinates: Coordinates) -> dict[str, str]:
    """Return a name for each arm; the second of the same coordinates is marked."""
    labels: dict[str, str] = {}
    seen: Counter[str] = Counter()
    for arm, trial in arms.items():
        text = coordinates.label(arm)
        label = f"control {text}".rstrip() if trial.is_control else text or "base"
        seen[label] += 1
        labels[arm] = label if seen[label] == 1 else f"{label} #{seen[label]}"
    return labels


def stage_label(stage: Record) -> str:
    """Return a stage's name for people."""
    kind = "stage" if "stage" in stage.coordinates else "teacher"
    return f"{kind} {stage.coordinates.get(kind, stage.id)}"


def run_labels(records: Iterable[Record]) -> dict[str, str]:
    """Return a name for each run of a sweep, with the seed where there are several."""
    every = list(records)
    trials = [record for record in every if record.kind == "trial"]
    # Reversed, so that the first trial of an arm stands for it.
    arms = {record.arm: record for record in reversed(trials)}
    labels = arm_labels(arms, coordinates_of(arms))
    has_seeds = len({record.seed for record in trials}) > 1
    return {
        record.id: stage_label(record)
        if record.kind == "stage"
        else labels[record.arm] + (f" seed={record.seed}" if has_seeds else "")
        for record in every
    }


def _suffixes(key: str) -> list[str]:
    parts = key.split(".")
    return [".".join(parts[start:]) for start in reversed(range(len(parts)))]


def _texts(values: Iterable[object]) -> dict[str, str]:
    """Return each value, written exactly, with its short text, or itself where two share one."""
    short = {_exact(value): value_text(value) for value in values}
    seen = list(short.values())
    return {exact: text if seen.count(text) == 1 else exact for exact, text in short.items()}


def _exact(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
