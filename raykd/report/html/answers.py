"""What a study asks and what it answers: a row for each question, its parts below it."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from raykd.report.bars import bar_of, facing, reaches
from raykd.report.html import bars
from raykd.report.html.scales import MINUS
from raykd.report.html.tables import (
    Cell,
    Column,
    Row,
    Table,
    between,
    decimals_for,
    fixed_signed,
    texts,
)
from raykd.report.html.words import Word, answer_words
from raykd.sweep.questions.answers import Answer, Verdict
from raykd.sweep.questions.wording import p_text

MAX_QUESTIONS = 100

_NEGATIVE = re.compile(r"(?<!\w)-(?=[\d.])")
"""The hyphen before a number: not that of a name."""

_SHAPES: dict[Verdict, str] = {"yes": "✓", "no": "✗", "undecided": "○"}

_COLUMNS = (
    Column(text="Question", is_number=False),
    Column(text="Answer", is_number=False),
    Column(text="Worse | better", is_number=False),
    Column(text="Estimate"),
    Column(text="Interval"),
    Column(text="Adjusted p"),
    Column(text="Seeds"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """What the study answers so far."""

    headline: str
    table: Table
    words: tuple[Word, ...]
    """What the words of the table mean."""


def answered(answers: Sequence[Answer], *, metric: str, links: Mapping[int, str]) -> Answered:
    """Return the sentence, the table and its words.

    Args:
        answers: Parts after their whole.
        metric: Of the study; the others are named.
        links: Where in the page the evidence is, by the index of the answer.
    """
    shown = answers[:MAX_QUESTIONS]
    decimals = {
        name: decimals_for(answer.estimate for answer in shown if answer.metric == name)
        for name in {answer.metric for answer in shown}
    }
    left_out = len(answers) - len(shown)
    return Answered(
        headline=_headline(answers),
        table=Table(
            caption="Questions of the study; an estimate is the mean over seeds of what is asked",
            columns=_COLUMNS,
            rows=tuple(
                Row(
                    head=_head(answer, links.get(index), metric),
                    cells=(
                        _verdict(answer),
                        Cell(text=_drawn(answer, reach), css="plot"),
                        *_numbers(answer, decimals[answer.metric]),
                    ),
                    css=_css(answer),
                )
                for index, (answer, reach) in enumerate(zip(shown, reaches(shown), strict=True))
            ),
            css="answers verdicts cards",
            note=f"The first {MAX_QUESTIONS} questions; {left_out} more are in summary.json."
            if left_out
            else "",
        ),
        words=answer_words(answers),
    )


def _headline(answers: Sequence[Answer]) -> str:
    """Return how many questions have which answer, parts left out."""
    counted = [answer for answer in answers if answer.part_of is None]
    withdrawn = [answer for answer in counted if answer.is_withdrawn]
    asked = [answer for answer in counted if not answer.is_withdrawn]
    planned = [answer for answer in asked if not answer.is_afterwards]
    afterwards = [answer for answer in asked if answer.is_afterwards]
    groups = {
        f"{len(planned)} question{'s'[: len(planned) != 1]}": planned,
        "Asked afterwards": afterwards,
        "Withdrawn": withdrawn,
    }
    return " ".join(f"{name}: {_counts(group)}." for name, group in groups.items() if group)


def _counts(answers: Sequence[Answer]) -> str:
    counts = Counter(answer.verdict for answer in answers)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in _SHAPES if counts[verdict])


def heading(answer: Answer) -> Markup:
    """Return the answer and its question, in words."""
    return Markup("{} {} {}").format(_verdict_text(answer), _title(answer), _marks(answer))


def why(answer: Answer) -> str:
    """Return the reason, without the verdict that stands beside it."""
    return _NEGATIVE.sub(MINUS, answer.reason.removeprefix(f"{answer.verdict}: "))


def _title(answer: Answer) -> str:
    return answer.question.claim or answer.asked


def _verdict_text(answer: Answer) -> Markup:
    # A word with a shape: the answer is not told by its colour alone.
    return Markup('<span class="answer {}"><span aria-hidden="true">{}</span> {}</span>').format(
        answer.verdict, _SHAPES[answer.verdict], answer.verdict
    )


def _marks(answer: Answer) -> Markup:
    given = (("asked afterwards", answer.is_afterwards), ("withdrawn", answer.is_withdrawn))
    return Markup(" ").join(
        Markup('<span class="mark">{}</span>').format(text) for text, holds in given if holds
    )


def _head(answer: Answer, link: str | None, metric: str) -> Markup:
    text = Markup("{}").format(_title(answer))
    if link is not None:
        text = Markup('<a class="claim" href="#{}">{}</a>').format(link, text)
    if answer.part_of is not None:
        text = Markup('<span class="hidden">Part of {}: </span>').format(answer.part_of) + text
    own_metric = answer.metric if answer.metric != metric else None
    known = (answer.question.source, answer.name, own_metric)
    below = " · ".join(part for part in known if part)
    return text + Markup("<small>{} {}</small>").format(below, _marks(answer))


def _verdict(answer: Answer) -> Cell:
    # A reason for yes or no has the numbers beside it; that of undecided says what is missing.
    note = why(answer) if answer.verdict == "undecided" else ""
    return Cell(text=_verdict_text(answer), note=note, css="verdict")


def _drawn(answer: Answer, reach: float) -> Markup:
    bar = bar_of(answer)
    if bar is None:
        return Markup("")
    return bars.draw(facing(bar, answer.mode), reach=reach, verdict=answer.verdict)


def _css(answer: Answer) -> str:
    given = (("part", answer.part_of is not None), ("withdrawn", answer.is_withdrawn))
    return " ".join(name for name, holds in given if holds)


def _numbers(answer: Answer, decimals: int) -> tuple[Cell, ...]:
    # A part is adjusted in its whole, and a whole has no difference of its own.
    adjusted_p = "" if answer.part_of else p_text(answer.adjusted_p)
    if answer.question.is_whole:
        return texts("", "", adjusted_p, "")
    return (
        Cell(text=fixed_signed(answer.estimate, decimals)),
        Cell(
            text=between(answer.low, answer.high, decimals),
            note="" if answer.low is None else f"{100 * answer.level:g} %",
        ),
        *texts(adjusted_p, f"{answer.num_seeds}/{answer.num_planned}"),
    )
