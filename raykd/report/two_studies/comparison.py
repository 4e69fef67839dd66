"""What two studies have in common, and where they differ, as data."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from raykd.config.changed import changed_keys
from raykd.config.schema.questions import QuestionConfig
from raykd.config.spelling import as_keys
from raykd.report.arms import Arm
from raykd.report.statistics import Verdict as ArmVerdict
from raykd.report.summary import Summary
from raykd.sweep.questions.answers import Answer, Verdict

Change = Literal["changed", "asked otherwise", "only in A", "only in B", "same"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """One of the two."""

    name: str
    sweep_uri: str
    is_over: bool
    """Whether nothing is left to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What a study answers to a question; see ``raykd.sweep.questions.answers.Answer``."""

    verdict: Verdict
    estimate: float | None
    low: float | None
    high: float | None
    adjusted_p: float | None
    num_seeds: int
    is_afterwards: bool
    is_withdrawn: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class QuestionPair:
    """A question of one study or both."""

    name: str
    change: Change
    """Changed is the answer to the same question; asked otherwise one of the name that is defined
    in another way, or of another metric."""

    a: Finding | None
    b: Finding | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmPair:
    """An arm of both studies whose verdict differs."""

    label: str
    """In the first study."""

    a: ArmVerdict
    a_difference: float | None
    """Mean difference to the control."""

    b: ArmVerdict
    b_difference: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class TwoStudies:
    """Two studies side by side, A and B."""

    a: Study
    b: Study
    files: dict[str, tuple[Any, Any]]
    """Key of the sweep file to its value in A and in B; without the questions."""

    answers: tuple[QuestionPair, ...]
    """Questions by their names: changed ones first, those that are the same last."""

    num_arms: int
    """Arms of the same coordinates in both."""

    num_same_runs: int
    """How many of these are the same runs, seeds apart."""

    arms: tuple[ArmPair, ...]
    """Those whose verdict differs, in the order of A."""

    def num_answers(self, change: Change) -> int:
        """Return how many questions changed so."""
        return sum(pair.change == change for pair in self.answers)


def compared(a: Summary, b: Summary) -> TwoStudies:
    """Return two studies side by side."""
    arms_a, arms_b = _by_coordinates(a), _by_coordinates(b)
    common = [(arm, arms_b[key]) for key, arm in arms_a.items() if key in arms_b]
    return TwoStudies(
        a=_study(a),
        b=_study(b),
        files=dict(changed_keys(_file(a), _file(b))),
        answers=tuple(sorted(_questions(a, b), key=lambda pair: _ORDER.index(pair.change))),
        num_arms=len(common),
        num_same_runs=sum(ours.id == theirs.id for ours, theirs in common),
        arms=tuple(_changed_arms(common)),
    )


_ORDER: list[Change] = ["changed", "asked otherwise", "only in A", "only in B", "same"]


def _study(summary: Summary) -> Study:
    return Study(name=summary.name, sweep_uri=summary.sweep_uri, is_over=summary.is_over)


def _file(summary: Summary) -> dict[str, Any]:
    """Return a sweep file without its questions, which are compared with their answers."""
    return {key: value for key, value in as_keys(summary.sweep).items() if key != "questions"}


def _questions(a: Summary, b: Summary) -> Iterator[QuestionPair]:
    ours, theirs = _by_name(a), _by_name(b)
    for name in dict.fromkeys((*ours, *theirs)):
        first, second = ours.get(name), theirs.get(name)
        yield QuestionPair(
            name=name,
            change=_change(first, second),
            a=None if first is None else _finding(first),
            b=None if second is None else _finding(second),
        )


def _by_name(summary: Summary) -> dict[str, Answer]:
    """Return answers by name; one that was asked anew in the place of a withdrawn one counts."""
    answers: dict[str, Answer] = {}
    for answer in summary.answers:
        if answer.name not in answers or not answer.is_withdrawn:
            answers[answer.name] = answer
    return answers


def _change(a: Answer | None, b: Answer | None) -> Change:
    if b is None:
        return "only in A"
    if a is None:
        return "only in B"
    if _definition(a) != _definition(b):
        return "asked otherwise"
    return "same" if a.verdict == b.verdict else "changed"


def _definition(answer: Answer) -> tuple[QuestionConfig, str, str]:
    """Return what makes a question another one: not its claim, nor what is planned by it."""
    question = replace(answer.question, claim=None, source=None, detect=None)
    return question, answer.metric, answer.mode


def _finding(answer: Answer) -> Finding:
    return Finding(
        verdict=answer.verdict,
        estimate=answer.estimate,
        low=answer.low,
        high=answer.high,
        adjusted_p=answer.adjusted_p,
        num_seeds=answer.num_seeds,
        is_afterwards=answer.is_afterwards,
        is_withdrawn=answer.is_withdrawn,
    )


def _by_coordinates(summary: Summary) -> dict[str, Arm]:
    """Return arms by what tells them apart in any study: labels depend on the other arms."""
    # A control may have the coordinates of an arm: those that it does not depend on are left out.
    return {
        json.dumps([arm.is_control, arm.coordinates], sort_keys=True): arm for arm in summary.arms
    }


def _changed_arms(common: list[tuple[Arm, Arm]]) -> Iterator[ArmPair]:
    for ours, theirs in common:
        a, b = ours.comparison, theirs.comparison
        if a is not None and b is not None and a.verdict != b.verdict:
            yield ArmPair(
                label=ours.label,
                a=a.verdict,
                a_difference=a.mean,
                b=b.verdict,
                b_difference=b.mean,
            )
