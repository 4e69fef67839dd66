"""How weak a teacher may be: its own score against what its students gain."""

import statistics
from dataclasses import dataclass

from raykd.report.grids import QUALITY, TEACHER, axis_values, is_weight
from raykd.report.pairing import Pairing, finite
from raykd.sweep.record import Record

_ALL = "all"


@dataclass(frozen=True, kw_only=True, slots=True)
class QualityDifference:
    """What the students of a teacher gain, at one weight."""

    weight: str
    """In short; ``all`` where no weight varies."""

    mean: float
    """Difference to the control, over all pairs of trials."""

    num_pairs: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Quality:
    """One teacher at one quality."""

    teacher: str
    quality: float | None
    """Share of the teacher's steps; None for a teacher that is no run of the sweep."""

    score: float | None
    """The sweep's metric of the teacher itself; None where no evaluation tells it."""

    control_mean: float | None
    """The same of the students trained without it; the score less this is its lead."""

    differences: tuple[QualityDifference, ...]


def qualities_of(pairing: Pairing) -> tuple[Quality, ...]:
    """Return the teachers that trials choose from, in the order of the plan; none where fixed."""
    weights = [key for key in axis_values(pairing) if is_weight(key)]
    weight_key = weights[0] if weights else None
    groups: dict[tuple[str, float | None], list[str]] = {}
    for arm in pairing.pairs:
        values = pairing.coordinates.values[arm]
        if TEACHER in values:
            groups.setdefault((values[TEACHER], values.get(QUALITY)), []).append(arm)
    return tuple(
        _quality(pairing, teacher, quality, arms=arms, weight_key=weight_key)
        for (teacher, quality), arms in groups.items()
    )


def _quality(
    pairing: Pairing,
    teacher: str,
    quality: float | None,
    *,
    arms: list[str],
    weight_key: str | None,
) -> Quality:
    # By id: arms of different weights share a control, which counts once.
    controls = {
        pair.control.id: pair.control for arm in arms for pair in pairing.pairs[arm]
    }.values()
    scores = [value for control in controls if (value := pairing.final(control)) is not None]
    return Quality(
        teacher=teacher,
        quality=quality,
        score=_score(pairing, teacher, quality, arms),
        control_mean=statistics.fmean(scores) if scores else None,
        differences=_differences(pairing, arms, weight_key),
    )


def _differences(
    pairing: Pairing, arms: list[str], weight_key: str | None
) -> tuple[QualityDifference, ...]:
    by_weight: dict[str, list[float]] = {}
    for arm in arms:
        texts = pairing.coordinates.texts[arm]
        weight = texts.get(weight_key, _ALL) if weight_key is not None else _ALL
        by_weight.setdefault(weight, []).extend(pairing.differences(arm, pairing.metric).values())
    return tuple(
        QualityDifference(
            weight=weight, mean=statistics.fmean(differences), num_pairs=len(differences)
        )
        for weight, differences in by_weight.items()
        if differences
    )


def _score(pairing: Pairing, teacher: str, quality: float | None, arms: list[str]) -> float | None:
    """Return what the evaluations of its students say of a teacher, else those of its own run."""
    name = pairing.metric.removeprefix("eval/")
    names = (f"eval/teacher/{name}", f"eval/teacher/{teacher}/{name}")
    trials = [trial for arm in arms for trial in pairing.arms[arm]]
    for trial in trials:
        for evaluation in trial.evaluations:
            scores = [finite(evaluation.get(name)) for name in names]
            if (score := next((v for v in scores if v is not None), None)) is not None:
                return score
    return _score_of_stage(pairing, teacher, quality, trials)


def _score_of_stage(
    pairing: Pairing, teacher: str, quality: float | None, trials: list[Record]
) -> float | None:
    records = pairing.ledger.records
    stages = [records[name] for trial in trials for name in trial.needs if name in records]
    for stage in stages:
        if stage.coordinates.get(TEACHER) != teacher or quality is None:
            continue
        for evaluation in stage.evaluations:
            # The checkpoint of a milestone is at a whole step.
            is_there = abs(evaluation["step"] - quality * stage.num_steps) < 1
            if is_there and (score := finite(evaluation.get(pairing.metric))) is not None:
                return score
    return None
