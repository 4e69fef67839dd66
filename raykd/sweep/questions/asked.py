"""What a study was asked, and when: what is asked after results are there is known as such."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from raykd.sweep.grid.coordinates import exact_text
from raykd.sweep.ledger import Asked, Ledger
from raykd.sweep.probe_scores import with_probe_metrics
from raykd.sweep.questions.contrast import contrasts_of, mode_of, questions_of
from raykd.sweep.record import Record

_WORDS = ("claim", "source", "detect")
"""What does not change what is asked."""

_DIGITS = 9

_ArmsOf = dict[str, frozenset[tuple[str, float]]]
"""Name of a question to its arms with their weights."""


def asked_now(
    sweep: Mapping[str, Any],
    records: Mapping[str, Record],
    *,
    before: Ledger | None,
    now: float,
) -> tuple[Asked, ...]:
    """Return what a study is asked when it is started, and what it was asked before.

    A question keeps its entry while it asks the same, also where it was withdrawn in between. One
    that is gone from the file stays, as withdrawn, where its arms had results; else it goes. With
    other seeds or arms than before, one whose arms have results is asked afterwards.

    Args:
        sweep: The sweep file, resolved.
        records: Id to record, of the plan.
        before: The ledger of the earlier starts; None before the first.
        now: Seconds since the epoch.
    """
    evaluated, known, arms_before = _evaluated(sweep, records), dict[str, Asked](), _ArmsOf()
    if before is not None:
        # The ledger may know results of runs that the file has no more.
        evaluated |= _evaluated(before.sweep, before.records)
        arms_before = _arms_of(before.sweep, before.records)
        known = {
            _identity(entry, before.sweep): replace(
                entry, has_results=entry.has_results or _have(entry, arms_before, evaluated)
            )
            for entry in before.asked
        }
        if not any(record.kind == "trial" for record in records.values()):
            # Values are tuned anew: until one is chosen, the trials of before stand for others.
            records = before.records
    arms = _arms_of(sweep, records)
    # A test of 3 seeds and one of 12 that follows are two: the error rate holds for planned looks.
    has_other_seeds = before is not None and _seeds(before.sweep) != _seeds(sweep)
    entries = []
    for new in _entries(sweep, now=now):
        has_results = _have(new, arms, evaluated)
        same = known.pop(_identity(new, sweep), None)
        if same is None:
            entries.append(replace(new, is_afterwards=has_results, has_results=has_results))
            continue
        is_other = has_other_seeds or (
            same.withdrawn_at is None
            and any(
                arms_before.get(name, arms.get(name)) != arms.get(name)
                for name in (new.name, *new.parts)
            )
        )
        entries.append(
            replace(
                new,
                asked_at=same.asked_at,
                is_afterwards=same.is_afterwards or (has_results and is_other),
                has_results=same.has_results or has_results,
            )
        )
    entries += [
        replace(gone, withdrawn_at=gone.withdrawn_at or now)
        for gone in known.values()
        if gone.withdrawn_at is not None or gone.has_results
    ]
    return tuple(entries)


def _seeds(sweep: Mapping[str, Any]) -> tuple[list[int], list[int]]:
    """Return the seeds of the first look, and those that may follow."""
    return list(sweep.get("seeds") or ()), list(sweep.get("more_seeds") or ())


def _entries(sweep: Mapping[str, Any], *, now: float) -> Iterator[Asked]:
    """Yield the questions of a sweep as if they were all asked now, before results."""
    given = sweep.get("questions") or {}
    are_parts = {part for question in given.values() for part in question["all"]}
    for name, question in given.items():
        if name not in are_parts:
            yield Asked(
                name=name,
                question=_with_metric(question, sweep),
                parts={part: _with_metric(given[part], sweep) for part in question["all"]},
                asked_at=now,
                is_afterwards=False,
            )


def _have(entry: Asked, arms: _ArmsOf, evaluated: Collection[str]) -> bool:
    """Tell whether an arm of a question, or of a part of it, was evaluated."""
    of_it = {arm for name in (entry.name, *entry.parts) for arm, _ in arms.get(name, ())}
    # One that was withdrawn may have the name of another.
    return entry.withdrawn_at is None and not of_it.isdisjoint(evaluated)


def _arms_of(sweep: Mapping[str, Any], records: Mapping[str, Record]) -> _ArmsOf:
    """Return the arms of each question of a sweep with their weights, but for rounding."""
    contrasts, _ = contrasts_of(sweep, records.values())
    return {
        name: frozenset((each.arm, round(each.weight, _DIGITS)) for each in contrast.weights)
        for name, contrast in contrasts.items()
    }


def _evaluated(sweep: Mapping[str, Any], records: Mapping[str, Record]) -> set[str]:
    """Return the arms of which a trial was evaluated, or probed."""
    return {
        record.arm
        for record in with_probe_metrics(sweep, records).values()
        if record.kind == "trial" and record.evaluations
    }


def _with_metric(question: Mapping[str, Any], sweep: Mapping[str, Any]) -> dict[str, Any]:
    """Return a question that says what it measures: the study's metric may change."""
    metric = question["metric"] or (None if question["all"] else sweep["metric"])
    return {**question, "metric": metric}


def _identity(entry: Asked, sweep: Mapping[str, Any]) -> str:
    """Return what is equal for entries that ask the same: whether less is better counts, too."""
    given = {entry.name: entry.question, **entry.parts}
    questions = {
        name: {key: value for key, value in question.items() if key not in _WORDS}
        for name, question in given.items()
    }
    # Of the metric itself: what counts as steps to a value depends on it.
    modes = [
        mode_of(replace(question, steps_to=None), sweep)
        for question in questions_of({"questions": given}).values()
    ]
    return exact_text([entry.name, questions, modes])
