"""A study with questions and answers that are written by hand: every verdict, every mark."""

import math
import statistics
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from raykd.config.schema.questions import QuestionConfig
from raykd.report.arms import Arm
from raykd.report.summary import Summary, summarise
from raykd.sweep.questions.answers import Answer
from scipy.special import stdtrit

from tests.sweeps import rich_ledger

_CONTROL = "control init=none"


def answered_summary(*, is_over: bool = True) -> Summary:
    """Return the report of ``rich_ledger`` with questions of these names.

    - strong-helps: yes; has a claim and a source.
    - weak-helps: no.
    - weak-is-alike: undecided, with a margin of 0.05.
    - both-help: undecided, the whole of the parts first (yes) and second (undecided).
    - remap-gains: yes, asked afterwards.
    - weight-4-is-better: no, withdrawn.
    - remap-is-late: undecided, two of four seeds are done.
    """
    summary = summarise(rich_ledger(is_over=is_over))
    answers = _answers({arm.label: arm for arm in summary.arms})
    questions = {a.name: {"claim": a.question.claim} for a in answers if not a.is_withdrawn}
    return replace(summary, answers=answers, sweep=summary.sweep | {"questions": questions})


def answer(
    name: str,
    differences: Mapping[int, float],
    *,
    question: QuestionConfig | None = None,
    **changes: Any,
) -> Answer:
    """Return an answer about eval/loss with the mean of these differences and its interval.

    Args:
        name: Of the question.
        differences: By seed.
        question: What is asked; by default whether something is better than 0.
        changes: Fields of the answer that take the place of those of an undecided one.
    """
    question = question or QuestionConfig()
    values = list(differences.values())
    level = 0.9 if question.margin is not None else 0.95
    reach = _reach(values, level)
    mean = statistics.fmean(values) if values else None
    undecided: dict[str, Any] = {
        "name": name,
        "question": question,
        "asked": f"{name.replace('-', ' ')} is {question.expect}",
        "metric": "eval/loss",
        "mode": "min",
        "verdict": "undecided",
        "reason": "adjusted p 0.210, of 6 questions",
        "differences": dict(differences),
        "num_planned": 4,
        "estimate": mean,
        "low": None if mean is None or reach is None else mean - reach,
        "high": None if mean is None or reach is None else mean + reach,
        "level": level,
        "p": None if reach is None else 0.07,
        "adjusted_p": None if reach is None else 0.21,
        "smallest": None if reach is None else 0.08,
        "weights": {},
    }
    return Answer(**(undecided | changes))


def _reach(values: list[float], level: float) -> float | None:
    if len(values) < 2:
        return None
    quantile = float(stdtrit(len(values) - 1, (1 + level) / 2))
    return quantile * statistics.stdev(values) / math.sqrt(len(values))


def _asked(
    arms: Mapping[str, Arm], name: str, weights: Mapping[str, float], **changes: Any
) -> Answer:
    """Return an answer about arms.

    Args:
        arms: By their labels.
        name: Of the question.
        weights: Label to weight.
        changes: As those of ``answer``.
    """
    seeds = set.intersection(*(set(arms[label].values) for label in weights))
    differences = {
        seed: sum(weight * arms[label].values[seed] for label, weight in weights.items())
        for seed in sorted(seeds)
    }
    by_arm = {arms[label].id: weight for label, weight in weights.items()}
    return answer(name, differences, weights=by_arm, **changes)


def _answers(arms: Mapping[str, Arm]) -> tuple[Answer, ...]:
    strong, weak = "teacher=strong quality=1", "teacher=strong quality=0.25"
    control = {"control init=none": -1.0}
    tested: dict[str, Any] = {"p": 1e-4, "adjusted_p": 6e-4, "reason": "adjusted p < 0.001"}
    part: dict[str, Any] = {"part_of": "both-help", "adjusted_p": None}
    return (
        _asked(
            arms,
            "strong-helps",
            {f"{strong} weight=1 init=none": 1.0, **control},
            question=QuestionConfig(
                claim="A fully trained teacher helps its student.",
                source="Weak teachers, 2023",
                compare={"quality": 1.0, "init": "none"},
                with_={"control": True},
                detect=0.1,
            ),
            verdict="yes",
            **tested,
        ),
        _asked(
            arms,
            "weak-helps",
            {f"{weak} weight=4 -> 1 init=none": 1.0, **control},
            question=QuestionConfig(claim="So does one that is trained by a quarter."),
            verdict="no",
            **tested,
        ),
        _asked(
            arms,
            "weak-is-alike",
            {f"{weak} weight=0.25 init=none": 1.0, **control},
            question=QuestionConfig(expect="alike", margin=0.05),
        ),
        answer(
            "both-help",
            {},
            question=QuestionConfig(claim="Each of both helps.", all=("first", "second")),
            reason="second is undecided",
            p=0.07,
            adjusted_p=0.21,
        ),
        _asked(
            arms,
            "first",
            {f"{strong} weight=4 -> 1 init=none": 1.0, **control},
            verdict="yes",
            **(tested | part),
        ),
        _asked(arms, "second", {f"{weak} weight=1 init=none": 1.0, **control}, **part),
        _asked(
            arms,
            "remap-gains",
            {f"{strong} weight=1 init=remap": 1.0, "control init=remap": -1.0},
            verdict="yes",
            is_afterwards=True,
            asked_at=1_700_000_000.0,
            **tested,
        ),
        _asked(
            arms,
            "weight-4-is-better",
            {f"{weak} weight=4 -> 1 init=none": 1.0, f"{weak} weight=1 init=none": -1.0},
            verdict="no",
            is_withdrawn=True,
            **tested,
        ),
        answer(
            "remap-is-late",
            {1: 0.12, 2: 0.31},
            adjusted_p=None,
            reason="2 of 4 seeds missing: 1 failed, 1 running",
        ),
    )
