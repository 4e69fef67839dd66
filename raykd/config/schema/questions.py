"""What a study asks: weighted sums of its arms, each with what is expected of it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from raykd.config.schema.names import NAME_RULE, is_name

EXPECTED = Literal["better", "worse", "different", "alike", "no worse"]

WITH_MARGIN = ("alike", "no worse")
"""What is expected within a margin."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AgainstConfig:
    """A difference that another one is compared with."""

    compare: dict[str, Any]
    """Coordinates of arms, as in the question."""

    with_: Any = None
    """Coordinates of the arms that these are compared with, or a number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrendConfig:
    """How a value, or a difference, changes from one value of a coordinate to the next."""

    over: str
    """The coordinate."""

    order: list[Any]
    """Its values, three or more, in the order in which a change is expected."""

    of: dict[str, Any] = field(default_factory=dict)
    """Coordinates of the arms, beside that one."""

    with_: dict[str, Any] | None = None
    """Coordinates of the arms that these are compared with at each value; null for the value of
    the arms itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TermConfig:
    """One part of a weighted sum."""

    arms: dict[str, Any]
    """Coordinates of arms, as in compare; the mean over them counts."""

    weight: float
    """What it is multiplied by."""

    metric: str | None = None
    """Its own metric; null is that of the question."""


@dataclass(frozen=True, kw_only=True, slots=True)
class QuestionConfig:
    """A question that the study is to answer with yes or no. Give compare, trend, terms or all.

    Arms are named by coordinates, such as {start: tuned, weight: [1, 4]}: all that have one of
    these values. A coordinate is named in full or by the end of its key, a section by its method.
    What is not named is averaged over, seed by seed. {control: true} beside others names the
    controls of the arms that they name.
    """

    claim: str | None = None
    """What is claimed, in a sentence, for the report."""

    source: str | None = None
    """Who claims it."""

    compare: dict[str, Any] | None = None
    """Coordinates of arms; the mean over them, minus that of with, is asked about."""

    with_: Any = None
    """Coordinates of the arms that these are compared with, or a number; beside trend and terms a
    number alone."""

    against: AgainstConfig | None = None
    """A difference that is taken off: compare minus with, minus that."""

    trend: TrendConfig | None = None
    """The mean change from one value of a coordinate to the next: the slope of a straight line."""

    terms: list[TermConfig] = field(default_factory=list)
    """Any weighted sum: entries with arms, as in compare, weight and, where another, metric."""

    all: tuple[str, ...] = ()
    """Names of questions that must all hold. They are parts of this one, which is answered in
    their place."""

    given: tuple[str, ...] = ()
    """Names of questions whose answer must be yes; else this one is undecided."""

    expect: EXPECTED = "better"
    """What is expected of the difference: that it is better or worse than 0, different from 0,
    alike (between minus and plus the margin), or no worse (than 0 by the margin). Yes where that
    is significant, no where its opposite is."""

    margin: float | None = None
    """Largest difference that does not matter, in units of the metric; for alike and no worse."""

    metric: str | None = None
    """Metric of evaluations or probes; null is that of the study. eval/worst/NAME is eval/NAME of
    the language where it is worst."""

    at: float | None = None
    """Fraction of the steps of each run; null is the end. The first evaluation there or past it
    counts."""

    steps_to: float | None = None
    """In the place of the metric, the steps that a run takes until it is as good as this value;
    fewer are better."""

    area: bool = False
    """In the place of the metric at one point, its mean over all steps, linear between
    evaluations."""

    detect: float | None = None
    """Smallest difference that matters, in units of the metric: raykd check says how many seeds
    find it."""

    @property
    def is_whole(self) -> bool:
        """Whether it is answered by others, its parts."""
        return bool(self.all)

    def problems(self, key: str) -> list[str]:
        """Return every reason this question cannot be asked, each naming its key."""
        kinds = {
            "compare": self.compare is not None,
            "trend": self.trend is not None,
            "terms": bool(self.terms),
            "all": self.is_whole,
        }
        if sum(kinds.values()) != 1:
            return [f"{key} needs exactly one of {', '.join(kinds)}"]
        return [*self._form_problems(key), *self._value_problems(key)]

    def _form_problems(self, key: str) -> list[str]:
        """Return what is wrong with the arms that are named."""
        problems = []
        if self.compare is not None and self.with_ is None:
            problems.append(f"{key}.with is missing: coordinates of arms, or a number")
        if self.compare is None and self.against is not None:
            problems.append(f"{key}.against belongs to compare")
        if self.against is not None and self.against.with_ is None:
            problems.append(f"{key}.against.with is missing: coordinates of arms, or a number")
        problems += [
            f"{key}.terms[{index}].weight must be a number other than 0, got {term.weight}"
            for index, term in enumerate(self.terms)
            if not math.isfinite(term.weight) or term.weight == 0
        ]
        if self.compare is None and isinstance(self.with_, Mapping):
            problems.append(f"{key}.with must be a number beside trend and terms")
        sides = {"with": self.with_, "against.with": self.against and self.against.with_}
        problems += [
            f"{key}.{name} must be coordinates of arms or a number, got {value!r}"
            for name, value in sides.items()
            if not _is_side(value)
        ]
        if self.trend is not None:
            problems += _trend_problems(f"{key}.trend", self.trend)
        return problems + (self._whole_problems(key) if self.is_whole else [])

    def _whole_problems(self, key: str) -> list[str]:
        own = QuestionConfig(all=self.all, claim=self.claim, source=self.source, given=self.given)
        problems = []
        if self != own:
            problems.append(f"{key}: beside all, only claim, source and given have a meaning")
        if len(set(self.all)) < 2:  # noqa: PLR2004  one is itself
            problems.append(f"{key}.all must name two questions or more, got {list(self.all)}")
        return problems

    def _value_problems(self, key: str) -> list[str]:
        problems = []
        has_margin = self.expect in WITH_MARGIN
        if has_margin != (self.margin is not None):
            what = "needs" if has_margin else "has no"
            problems.append(f"{key}: expect: {self.expect} {what} margin")
        for name, value in (("margin", self.margin), ("detect", self.detect)):
            if value is not None and not value > 0:
                problems.append(f"{key}.{name} must be > 0, got {value}")
        if self.at is not None and not 0 < self.at <= 1:
            problems.append(f"{key}.at must be in (0, 1], got {self.at}")
        points = {"at": self.at, "steps_to": self.steps_to, "area": self.area or None}
        given = [name for name, value in points.items() if value is not None]
        if len(given) > 1:
            problems.append(f"{key} has {' and '.join(given)}: give one of them")
        metrics = [self.metric, *(term.metric for term in self.terms)]
        is_early = given and self.at != 1
        if is_early and (of_test := [m for m in metrics if m and m.startswith("test/")]):
            problems.append(
                f"{key}.{given[0]}: {of_test[0]} is known at the end alone, take one of eval/"
            )
        return problems


def question_problems(questions: Mapping[str, QuestionConfig]) -> list[str]:
    """Return what is wrong with the questions of a study, and with their names."""
    problems = []
    for name, question in questions.items():
        key = f"questions.{name}"
        if not is_name(name):
            problems.append(f"{key}: the name {NAME_RULE}")
        problems += question.problems(key)
        for field_name, others in (("all", question.all), ("given", question.given)):
            for other in others:
                if other not in questions or other == name:
                    known = ", ".join(n for n in questions if n != name) or "none"
                    problems.append(f"{key}.{field_name} names {other}: the others are {known}")
                elif field_name == "all" and questions[other].is_whole:
                    problems.append(f"{key}.all names {other}, which has parts: name these")
    wholes = [part for question in questions.values() for part in set(question.all)]
    problems += [
        f"questions.{part} is a part of two questions: name it in one"
        for part in sorted({part for part in wholes if wholes.count(part) > 1})
    ]
    if (circle := _circle(questions)) is not None:
        problems.append(f"questions.{circle}.given leads back to itself")
    return problems


def _is_side(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value is None or is_number or isinstance(value, Mapping)


def _trend_problems(key: str, trend: TrendConfig) -> list[str]:
    problems = []
    # Not as a set: values may be sections.
    if len(trend.order) < 3 or any(trend.order.count(v) > 1 for v in trend.order):  # noqa: PLR2004
        problems.append(f"{key}.order must be three different values or more: {trend.order}")
    for name, arms in (("of", trend.of), ("with", trend.with_ or {})):
        if trend.over in arms:
            problems.append(f"{key}.{name} names {trend.over}, which the trend is over")
    return problems


def _circle(questions: Mapping[str, QuestionConfig]) -> str | None:
    """Return a question that needs its own answer; None where none does."""
    for name in questions:
        reached, ahead = set[str](), [name]
        while ahead:
            question = questions.get(current := ahead.pop())
            needed = set() if question is None else {*question.given, *question.all} - {current}
            if name in needed:
                return name
            ahead += needed - reached
            reached |= needed
    return None
