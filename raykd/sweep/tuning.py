"""Which of the values that were tried trials go on with.

A choice is a function of the records alone, in whatever order they came: a study that is
interrupted, or runs on more machines, chooses the same values.
"""

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from raykd.config.schema.study import TuneConfig
from raykd.sweep.record import Record, State


@dataclass(frozen=True, kw_only=True, slots=True)
class TriedValue:
    """One combination of the tuned keys, and how good it was."""

    tuned: dict[str, Any]
    """Tuned key to value."""

    num_runs: int
    """Runs that try it."""

    mean: float | None
    """Mean of their metrics at their ends; None while one is not over, and where one failed or
    has no finite value: such a value is not chosen."""

    standard_deviation: float | None
    """Sample standard deviation, with n - 1; None where the mean is, and of one run."""

    num_failed: int
    """Runs that ended without a finite value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """The values that a group of arms, or their controls, goes on with."""

    coordinates: dict[str, Any]
    """What the group has in common."""

    is_control: bool
    tried: tuple[TriedValue, ...]
    """In the order of the candidates."""

    is_open: bool
    """Whether a run of it is not over yet."""

    chosen: dict[str, Any] | None
    """Tuned key to value; None while open, and where every value failed."""

    edges: tuple[str, ...]
    """Keys whose chosen value is the least or the largest number that was tried: the best may lie
    beyond."""


def group_of(tune: TuneConfig, coordinates: Mapping[str, Any], *, is_control: bool) -> str:
    """Return a text that is equal for runs that share a choice, and for no others."""
    shared = _shared(tune, coordinates)
    return json.dumps([is_control, shared], sort_keys=True, ensure_ascii=False)


def choices_of(
    tune: TuneConfig, records: Iterable[Record], *, metric: str, mode: Literal["min", "max"]
) -> dict[str, Choice]:
    """Return what each group goes on with.

    Args:
        tune: Says what is tried, and for which arms together.
        records: Of the study; those that are no tuning runs are left out.
        metric: Metric to choose by, at the last evaluation of each run.
        mode: Whether less or more of it is better.
    """
    groups: dict[str, list[Record]] = {}
    for record in records:
        if record.kind == "tuning":
            group = group_of(tune, record.coordinates, is_control=record.is_control)
            groups.setdefault(group, []).append(record)
    return {group: _choice(tune, runs, metric=metric, mode=mode) for group, runs in groups.items()}


def _choice(
    tune: TuneConfig, runs: Sequence[Record], *, metric: str, mode: Literal["min", "max"]
) -> Choice:
    tried = tuple(
        _tried(candidate, of_it, metric)
        for candidate in tune.candidates
        # A control that does not depend on a tuned key is one run, of one candidate.
        if (of_it := [run for run in runs if run.tuned == candidate])
    )
    is_open = not all(run.state.is_terminal for run in runs)
    chosen = None if is_open else _best(tried, mode)
    return Choice(
        coordinates=_shared(tune, runs[0].coordinates),
        is_control=runs[0].is_control,
        tried=tried,
        is_open=is_open,
        chosen=chosen,
        edges=() if chosen is None else _edges(chosen, tried),
    )


def _shared(tune: TuneConfig, coordinates: Mapping[str, Any]) -> dict[str, Any]:
    """Return the coordinates that a choice is made for, of those that a run has."""
    names = coordinates if tune.per is None else tune.per
    return {name: coordinates[name] for name in names if name in coordinates}


def _tried(candidate: dict[str, Any], runs: Sequence[Record], metric: str) -> TriedValue:
    values = [
        run.last_evaluation.get(metric, math.nan) if run.state is State.DONE else math.nan
        for run in runs
        if run.state.is_terminal
    ]
    finite = [value for value in values if math.isfinite(value)]
    # A mean over fewer runs than the other values have would be one over other seeds, or arms.
    is_known = len(finite) == len(runs)
    return TriedValue(
        tuned=candidate,
        num_runs=len(runs),
        mean=statistics.fmean(finite) if is_known else None,
        standard_deviation=statistics.stdev(finite) if is_known and len(finite) > 1 else None,
        num_failed=len(values) - len(finite),
    )


def _best(tried: Sequence[TriedValue], mode: Literal["min", "max"]) -> dict[str, Any] | None:
    known = [(value.mean, value.tuned) for value in tried if value.mean is not None]
    if not known:
        return None
    best = (min if mode == "min" else max)(mean for mean, _ in known)
    # Of equal ones, the first of the candidates.
    return next(tuned for mean, tuned in known if mean == best)


def _edges(chosen: Mapping[str, Any], tried: Sequence[TriedValue]) -> tuple[str, ...]:
    edges = []
    for key, value in chosen.items():
        numbers = {tried_value.tuned[key] for tried_value in tried if _is_number(tried_value, key)}
        if len(numbers) > 1 and value in (min(numbers), max(numbers)):
            edges.append(key)
    return tuple(edges)


def _is_number(value: TriedValue, key: str) -> bool:
    return isinstance(value.tuned[key], int | float) and not isinstance(value.tuned[key], bool)
