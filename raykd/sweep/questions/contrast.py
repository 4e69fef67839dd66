"""A question as arithmetic: a weighted sum of arms, the same for every seed."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from raykd.config.schema.questions import (
    AgainstConfig,
    QuestionConfig,
    TermConfig,
    TrendConfig,
)
from raykd.config.schema.study import less_is_better
from raykd.config.spelling import as_fields
from raykd.errors import ConfigError
from raykd.sweep.questions.selection import Places, Side
from raykd.sweep.record import Record

_ZERO = 1e-12
"""Weights below it have cancelled but for rounding."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """What is taken of a run: one number."""

    metric: str
    mode: Literal["min", "max"]
    """Whether less or more of the metric is better."""

    at: float = 1.0
    """Fraction of the run's steps: the first evaluation there or past it counts."""

    steps_to: float | None = None
    """Where given, the number is the steps until the metric is as good as this."""

    area: bool = False
    """Where set, the number is the mean of the metric over all steps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmWeight:
    """One arm of the sum."""

    arm: str
    """Arm of the records, see ``raykd.sweep.record.Record.arm``."""

    weight: float
    measure: Measure


@dataclass(frozen=True, kw_only=True, slots=True)
class Contrast:
    """What a question asks about: for each seed, the sum of the arms' weighted numbers."""

    weights: tuple[ArmWeight, ...]
    """Each arm and measure once, none of them with weight 0."""

    minus: float = 0.0
    """The number that is taken off the sum."""

    mode: Literal["min", "max"]
    """Whether less or more of the sum is better."""


def questions_of(sweep: Mapping[str, Any]) -> dict[str, QuestionConfig]:
    """Return the questions of a resolved sweep file; ledgers of before have none."""
    given = as_fields({"questions": sweep.get("questions") or {}})["questions"]
    return {name: _question(question) for name, question in given.items()}


def contrasts_of(
    sweep: Mapping[str, Any], records: Iterable[Record]
) -> tuple[dict[str, Contrast], list[str]]:
    """Return the contrasts of the questions that have no parts, and why others have none.

    Args:
        sweep: The sweep file, resolved.
        records: Its trials; runs of other kinds are left out.

    Returns:
        Name to contrast, and problems, each naming its key.
    """
    places = Places(records)
    contrasts: dict[str, Contrast] = {}
    problems = []
    for name, question in questions_of(sweep).items():
        if not question.is_whole:
            try:
                contrasts[name] = _contrast(f"questions.{name}", question, places, sweep)
            except ConfigError as error:
                problems.append(str(error))
    return contrasts, problems


def mode_of(question: QuestionConfig, sweep: Mapping[str, Any]) -> Literal["min", "max"]:
    """Return whether less or more of what a question asks about is better."""
    if question.steps_to is not None:
        return "min"
    return _mode_of_metric(question.metric or sweep["metric"], sweep)


def _mode_of_metric(metric: str, sweep: Mapping[str, Any]) -> Literal["min", "max"]:
    """Return whether less or more of a metric is better: as the study says of its own."""
    if metric == sweep["metric"]:
        return "min" if sweep["mode"] == "min" else "max"
    return "min" if less_is_better(metric) else "max"


def _question(given: Mapping[str, Any]) -> QuestionConfig:
    fields = dict(given)
    if fields.get("against") is not None:
        fields["against"] = AgainstConfig(**fields["against"])
    if fields.get("trend") is not None:
        fields["trend"] = TrendConfig(**fields["trend"])
    fields["terms"] = [TermConfig(**term) for term in fields.get("terms") or ()]
    for names in ("all", "given"):
        fields[names] = tuple(fields.get(names) or ())
    return QuestionConfig(**fields)


def _contrast(
    key: str, question: QuestionConfig, places: Places, sweep: Mapping[str, Any]
) -> Contrast:
    """Return a question as a weighted sum.

    Raises:
        ConfigError: Arms that it names are not there, or its sides cannot be compared.
    """
    metric = question.metric or sweep["metric"]
    sums: dict[tuple[str, Measure], float] = {}
    for weight, own_metric, arms in _parts(key, question, places):
        measure = Measure(
            metric=own_metric or metric,
            mode=_mode_of_metric(own_metric or metric, sweep),
            at=1.0 if question.at is None else question.at,
            steps_to=question.steps_to,
            area=question.area,
        )
        for arm, share in arms.items():
            sums[arm, measure] = sums.get((arm, measure), 0.0) + weight * share
    weights = tuple(
        ArmWeight(arm=arm, weight=weight, measure=measure)
        for (arm, measure), weight in sums.items()
        if abs(weight) > _ZERO
    )
    if not weights:
        message = f"{key} compares arms with themselves: what it names on both sides is the same"
        raise ConfigError(message)
    return Contrast(weights=weights, minus=_minus(question), mode=mode_of(question, sweep))


def _parts(
    key: str, question: QuestionConfig, places: Places
) -> Iterator[tuple[float, str | None, dict[str, float]]]:
    """Yield weight, metric, where it is its own, and shares of arms."""
    for index, term in enumerate(question.terms):
        side = places.side(f"{key}.terms[{index}].arms", term.arms)
        yield term.weight, term.metric, places.shares([side])[0]
    weighted = [*_compared(key, question, places), *_trend(key, question.trend, places)]
    # Together: what is averaged over must be the same in all.
    shares = places.shares([side for _, side in weighted]) if weighted else []
    for (weight, _), arms in zip(weighted, shares, strict=True):
        yield weight, None, arms


def _compared(key: str, question: QuestionConfig, places: Places) -> Iterator[tuple[float, Side]]:
    """Yield the arms that compare, with and against name, each with its sign."""
    if question.compare is None:
        return
    named = [(1.0, "compare", question.compare), (-1.0, "with", question.with_)]
    if (against := question.against) is not None:
        named += [
            (-1.0, "against.compare", against.compare),
            (1.0, "against.with", against.with_),
        ]
    for sign, name, wanted in named:
        if isinstance(wanted, Mapping):
            yield sign, places.side(f"{key}.{name}", wanted)


def _trend(key: str, trend: TrendConfig | None, places: Places) -> Iterator[tuple[float, Side]]:
    """Yield the arms of a trend with the weights of its slope for each step of the order."""
    if trend is None:
        return
    for value in trend.order:
        places.side(f"{key}.trend.order", {trend.over: value})
    centred = [index - (len(trend.order) - 1) / 2 for index in range(len(trend.order))]
    squares = sum(c * c for c in centred)
    for value, c in zip(trend.order, centred, strict=True):
        for sign, name, wanted in ((1.0, "of", trend.of), (-1.0, "with", trend.with_)):
            if wanted is not None:
                side = places.side(f"{key}.trend.{name}", {**wanted, trend.over: value})
                yield sign * c / squares, side


def _minus(question: QuestionConfig) -> float:
    """Return the numbers that arms are compared with."""
    against = None if question.against is None else question.against.with_
    numbers = [
        0.0 if value is None or isinstance(value, Mapping) else float(value)
        for value in (question.with_, against)
    ]
    return numbers[0] - numbers[1]
