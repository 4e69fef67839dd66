"""Short names for what tells trials apart. Different values never get the same text."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from raykd.sweep.record import KIND, Record


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
        # Six digits: value_texts writes both in full where two values agree in these.
        return f"{value:g}"
    if isinstance(value, str):
        is_place = "://" in value or value.startswith("/")
        return value.rstrip("/").rsplit("/", 1)[-1] or value if is_place else value
    if isinstance(value, Mapping) and len(value) == 1:
        return str(next(iter(value)))
    if isinstance(value, list | tuple):
        return ",".join(value_text(item) for item in value)
    return exact_text(value)


def keys_named(name: str, keys: Iterable[str]) -> list[str]:
    """Return the key of that name, or else those that end with it, in whole parts."""
    known = list(keys)
    return [name] if name in known else [key for key in known if key.endswith(f".{name}")]


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
        key: value_texts(r.coordinates[key] for r in arms.values() if key in r.coordinates)
        for key in keys
    }
    return Coordinates(
        names=names,
        texts={
            arm: {key: texts[key][exact_text(value)] for key, value in record.coordinates.items()}
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


def run_labels(records: Iterable[Record], *, with_seeds: bool = False) -> dict[str, str]:
    """Return a name for each run of a sweep.

    Args:
        records: All of its runs.
        with_seeds: Name seeds even where all runs of a kind have the same.
    """
    every = list(records)
    of_kind = {kind: [r for r in every if r.kind == kind] for kind in get_args(KIND)}
    # Reversed, so that the first run of an arm stands for it.
    arms = {trial.arm: trial for trial in reversed(of_kind["trial"])}
    tuned = {_tuned_arm(run): run for run in reversed(of_kind["tuning"])}
    coordinates = coordinates_of(tuned | arms)
    of_arm, of_tuned = arm_labels(arms, coordinates), arm_labels(tuned, coordinates)
    tried = _tried_texts(of_kind["tuning"])
    seeds = {
        run.id: f" seed={run.seed}" if with_seeds or has_several else ""
        for runs in of_kind.values()
        for has_several in [len({run.seed for run in runs}) > 1]
        for run in runs
    }
    labels = {stage.id: stage_label(stage) for stage in of_kind["stage"]}
    labels |= {trial.id: of_arm[trial.arm] + seeds[trial.id] for trial in of_kind["trial"]}
    labels |= {
        run.id: f"tuning {tried[run.id]} {of_tuned[_tuned_arm(run)]}{seeds[run.id]}"
        for run in of_kind["tuning"]
    }
    labels |= {
        probe.id: f"probe {probe.coordinates['probe']}{seeds[probe.id]} "
        f"at {probe.coordinates['at']:g} of {labels.get(probe.probed or '', probe.probed)}"
        for probe in of_kind["probe"]
    }
    return {record.id: labels[record.id] for record in every}


def stage_label(stage: Record) -> str:
    """Return a stage's name for people."""
    kind = "stage" if "stage" in stage.coordinates else "teacher"
    return f"{kind} {stage.coordinates.get(kind, stage.id)}"


def tuned_texts(values: Sequence[Mapping[str, Any]], others: Iterable[str] = ()) -> list[str]:
    """Return tuned keys and their values in short, different ones as different texts.

    Args:
        values: Tuned key to value, for each text.
        others: Keys that the short names of the tuned ones are told apart from.
    """
    keys = dict.fromkeys(key for tuned in values for key in tuned)
    names = short_keys([*keys, *others])
    texts = {key: value_texts(tuned[key] for tuned in values if key in tuned) for key in keys}
    return [
        " ".join(f"{names[key]}={texts[key][exact_text(value)]}" for key, value in tuned.items())
        for tuned in values
    ]


def _tried_texts(runs: Sequence[Record]) -> dict[str, str]:
    """Return what each tuning run tries."""
    others = dict.fromkeys(key for run in runs for key in run.coordinates)
    texts = tuned_texts([run.tuned for run in runs], others)
    return {run.id: text for run, text in zip(runs, texts, strict=True)}


def _tuned_arm(run: Record) -> str:
    """Return what is equal for the tuning runs of an arm, whatever value they try."""
    return exact_text([run.is_control, run.coordinates])


def _suffixes(key: str) -> list[str]:
    parts = key.split(".")
    return [".".join(parts[start:]) for start in reversed(range(len(parts)))]


def value_texts(values: Iterable[object]) -> dict[str, str]:
    """Return each value, written exactly, with its short text, or itself where two share one."""
    short = {exact_text(value): value_text(value) for value in values}
    seen = list(short.values())
    return {exact: text if seen.count(text) == 1 else exact for exact, text in short.items()}


def exact_text(value: object) -> str:
    """Return a value written exactly: another text for every other value."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
