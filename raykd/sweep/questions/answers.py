"""What the results of a study answer to its questions.

A question is yes where its claim is significant, and no where the opposite is: never by a large p.
It is tested when all runs of a look are over, and its p value holds whenever the study stops.
Holm's adjustment is over all questions that were asked before there were results, withdrawn ones
among them; one that was asked afterwards is adjusted over all, and makes no other harder.
"""

import statistics
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from raykd.config.schema.questions import QuestionConfig
from raykd.stats.expectations import smallest
from raykd.stats.holm import holm
from raykd.stats.means import SIGNIFICANCE
from raykd.sweep.ledger import Asked
from raykd.sweep.probe_scores import with_probe_metrics
from raykd.sweep.questions.contrast import contrasts_of, questions_of
from raykd.sweep.questions.evidence import Evidence, evidence_of, evidence_of_parts
from raykd.sweep.questions.wording import asked_text, measure_text, reason_of
from raykd.sweep.record import Record

Verdict = Literal["yes", "no", "undecided"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A question, and what is known of its answer."""

    name: str
    question: QuestionConfig
    asked: str
    """What is asked, in words, such as ``start=tuned minus start=random is better``."""

    metric: str
    """What the numbers are of, such as test/macro_f1, or steps to 0.8 of it."""

    mode: Literal["min", "max"]
    """Whether less or more of it is better."""

    verdict: Verdict
    reason: str
    """The rule in one sentence with its figures; why it is undecided, where it is."""

    differences: dict[int, float]
    """Seed to what is asked about; only where all runs of the seed are done. Empty for a question
    that has parts."""

    num_planned: int
    """Seeds there are when all runs are done."""

    estimate: float | None
    """Mean of the differences; None without any."""

    low: float | None
    """Lower end of the interval of the mean, for this question alone; None where the spread is
    unknown: fewer than 2 seeds, or all differences the same."""

    high: float | None
    """Upper end of that interval."""

    level: float
    """Of the interval: 0.95, or 0.9 where one side counts, as for alike and no worse."""

    p: float | None
    """Of the verdict that is nearer, for this question alone; of a question with parts from those
    of its parts; None where low is."""

    adjusted_p: float | None
    """Holm's, over all questions of the study; None where it is not ready for a verdict, and for
    parts."""

    smallest: float | None
    """Smallest difference (to the margin, where there is one) that these seeds could have shown;
    None where p is, and for a question that has parts."""

    weights: dict[str, float]
    """Arm to its weight in the difference: the evidence. Empty for a question that has parts."""

    part_of: str | None = None
    """The question that this one is a part of; it has p, and the verdict of its own p at the level
    of the whole."""

    is_afterwards: bool = False
    """Whether it was asked when its arms had results, or got other seeds or arms then."""

    is_withdrawn: bool = False
    """Whether it was taken out of the study's file when its arms had results."""

    asked_at: float | None = None
    """When it was first asked, in seconds since the epoch; None where it is not yet in the
    ledger."""

    @property
    def num_seeds(self) -> int:
        """Seeds with all runs done."""
        return len(self.differences)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked:
    """A question with what its runs say, before it is one of many."""

    name: str
    question: QuestionConfig
    evidence: Evidence
    parts: tuple["_Asked", ...] = ()
    entry: Asked | None = None
    """What the ledger knows of it, or of its whole."""

    @property
    def is_afterwards(self) -> bool:
        return self.entry is not None and self.entry.is_afterwards


def answers_of(
    sweep: Mapping[str, Any],
    records: Mapping[str, Record],
    *,
    asked: Sequence[Asked] = (),
    seeds: Collection[int] | None = None,
) -> tuple[Answer, ...]:
    """Return the answers in the order of the sweep file, parts after their whole.

    Args:
        sweep: The sweep file, resolved.
        records: Id to record, of all kinds.
        asked: What the ledger knows of the questions; withdrawn ones are answered last.
        seeds: Those that are looked at; None is all.
    """
    records = with_probe_metrics(sweep, records)
    present = {entry.name: entry for entry in asked if entry.withdrawn_at is None}
    every = list(_asked(sweep, records, seeds, present))
    for entry in asked:
        if entry.withdrawn_at is not None:
            questions = {entry.name: entry.question, **entry.parts}
            every += _asked({**sweep, "questions": questions}, records, seeds, {entry.name: entry})
    planned = [each for each in every if not each.is_afterwards]
    answers = [
        answer
        for each in every
        for answer in _decided(each, every if each.is_afterwards else planned, sweep)
    ]
    return tuple(_with_given(answers))


def _asked(
    sweep: Mapping[str, Any],
    records: Mapping[str, Record],
    seeds: Collection[int] | None,
    entries: Mapping[str, Asked],
) -> Iterator[_Asked]:
    """Yield the questions of a sweep that are parts of no other."""
    questions = questions_of(sweep)
    contrasts, _ = contrasts_of(sweep, records.values())

    def of(name: str, entry: Asked | None) -> _Asked:
        question = questions[name]
        parts = tuple(of(part, entry) for part in question.all)
        if parts:
            evidence = evidence_of_parts({part.name: part.evidence for part in parts})
        else:
            evidence = evidence_of(
                question, contrasts.get(name), records, sweep=sweep, seeds=seeds
            )
        return _Asked(name=name, question=question, evidence=evidence, parts=parts, entry=entry)

    are_parts = {part for question in questions.values() for part in question.all}
    for name in questions:
        if name not in are_parts:
            yield of(name, entries.get(name))


def _decided(asked: _Asked, family: Sequence[_Asked], sweep: Mapping[str, Any]) -> list[Answer]:
    """Return the answer to one of the questions that are adjusted together, and to its parts."""
    p_values = [each.evidence.p for each in family]
    adjusted = holm(p_values)
    passed = [
        p < asked.evidence.p and after < SIGNIFICANCE
        for p, after in zip(p_values, adjusted, strict=True)
    ]
    # By what Holm multiplies its p: a smaller one that is not significant makes nothing easier.
    factor = len(family) - sum(passed)
    own = _answer(
        asked,
        sweep,
        adjusted=adjusted[family.index(asked)],
        factor=factor,
        num_asked=len(family),
    )
    return [
        own,
        *(
            replace(
                _answer(part, sweep, adjusted=None, factor=factor, num_asked=len(family)),
                part_of=asked.name,
            )
            for part in asked.parts
        ),
    ]


def _answer(
    asked: _Asked,
    sweep: Mapping[str, Any],
    *,
    adjusted: float | None,
    factor: int,
    num_asked: int,
) -> Answer:
    """Return an answer.

    Args:
        asked: The question.
        sweep: The sweep file, resolved.
        adjusted: Its p value, adjusted; None for a part.
        factor: What its own p value, or that of its whole, is multiplied by.
        num_asked: Questions that are adjusted together.
    """
    evidence, question, entry = asked.evidence, asked.question, asked.entry
    deciding = factor * evidence.p if adjusted is None else adjusted
    is_ready = evidence.wait is None
    verdict: Verdict = "undecided"
    if is_ready and deciding < SIGNIFICANCE:
        verdict = "yes" if evidence.p_yes <= evidence.p_no else "no"
    values = list(evidence.differences.values())
    test = evidence.test
    answer = Answer(
        name=asked.name,
        question=question,
        asked=asked_text(question),
        metric=measure_text([p.question for p in asked.parts] or [question], sweep),
        mode=evidence.mode,
        verdict=verdict,
        reason="",
        differences=evidence.differences,
        num_planned=evidence.num_planned,
        estimate=statistics.fmean(values) if values else None,
        low=None if test is None else test.low,
        high=None if test is None else test.high,
        level=0.95 if test is None else test.level,
        p=evidence.shown_p,
        adjusted_p=adjusted if is_ready else None,
        smallest=smallest(
            values, expect=question.expect, alpha=SIGNIFICANCE * evidence.share / factor
        )
        if values
        else None,
        weights=evidence.weights,
        is_afterwards=asked.is_afterwards,
        is_withdrawn=entry is not None and entry.withdrawn_at is not None,
        asked_at=None if entry is None else entry.asked_at,
    )
    return replace(answer, reason=reason_of(answer, evidence, num_asked=num_asked))


def _with_given(answers: Sequence[Answer]) -> list[Answer]:
    """Return the answers where none is yes or no that others had to be yes for."""
    by_name = {answer.name: answer for answer in answers if not answer.is_withdrawn}

    def holds(name: str) -> bool:
        known = by_name.get(name)
        return known is not None and known.verdict == "yes" and failing(known) is None

    def failing(answer: Answer) -> str | None:
        """Return the first that it, or a part of it, is given, and that does not hold."""
        parts = [by_name[part] for part in answer.question.all if part in by_name]
        given = [name for one in (answer, *parts) for name in one.question.given]
        return next((name for name in given if not holds(name)), None)

    return [
        answer if (name := failing(answer)) is None else _unmet(answer, name) for answer in answers
    ]


def _unmet(answer: Answer, given: str) -> Answer:
    reason = f"undecided: it is asked only where {given} is yes, which is not so"
    return replace(answer, verdict="undecided", adjusted_p=None, reason=reason)
