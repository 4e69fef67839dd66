"""The page leads with answers: each with its sign, its evidence and what it must be read with."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Literal

import pytest
from raykd.config.schema.questions import QuestionConfig
from raykd.report.curves import CurvePoint
from raykd.report.html import page
from raykd.report.html.answers import answered
from raykd.report.html.evidence import evidence_ids, evidence_of
from raykd.report.html.learning_curves import learning_curves
from raykd.report.summary import Summary
from raykd.sweep.questions.answers import Answer

from tests.answered import answer, answered_summary


class Outline(HTMLParser):
    """The text of a page by its headings, its tags, and where its links lead."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = dict(attrs)
        self.ids += [i for i in [given.get("id")] if i]
        self.links += [href[1:] for href in [given.get("href") or ""] if href[:1] == "#"]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def summary() -> Summary:
    return answered_summary()


@pytest.fixture(scope="module")
def outline(summary: Summary) -> Outline:
    return Outline(page(summary, refresh_seconds=None))


def rows_of(summary: Summary) -> dict[str, tuple[str, ...]]:
    """Return the texts of each question's row by its name."""
    table = answered(summary.answers, metric=summary.metric, links={}).table
    return {
        a.name: tuple(text_of(str(cell.text)) for cell in row.cells)
        for a, row in zip(summary.answers, table.rows, strict=True)
    }


def text_of(markup: str) -> str:
    return re.sub(r"<[^>]*>", "", markup)


def dots(drawn: str) -> list[float]:
    return [float(x) for x in re.findall(r'circle class="dot" cx="([\d.]+)"', drawn)]


def test_answers_come_first_their_evidence_then_the_arms(outline: Outline) -> None:
    titles = ("What does the study answer?", "What do the answers rest on?", "Exploration: which")
    places = [outline.text.index(title) for title in titles]

    assert places == sorted(places)
    assert "Which arms beat their control?" not in outline.text
    assert "5 questions: 1 yes, 1 no, 3 undecided. Asked afterwards: 1 yes. Withdrawn: 1 no." in (
        outline.text
    )


def test_a_study_without_questions_has_neither_answers_nor_evidence(summary: Summary) -> None:
    plain = Outline(page(replace(summary, answers=()), refresh_seconds=None))

    assert "Which arms beat their control?" in plain.text
    assert "Undecided" not in plain.text
    assert not [i for i in plain.ids if i.startswith("evidence")]


def test_every_link_leads_somewhere(outline: Outline) -> None:
    assert {"answer", "arms", "evidence", "evidence-0"} <= set(outline.links)
    assert set(outline.links) <= set(outline.ids)
    assert len(outline.ids) == len(set(outline.ids))


def test_an_answer_is_a_word_with_its_estimate_interval_p_and_seeds(summary: Summary) -> None:
    rows = rows_of(summary)
    found = summary.answers[0]

    assert rows["strong-helps"][0] == "✓ yes"
    assert rows["weak-helps"][0] == "✗ no"
    assert rows["weak-is-alike"][0] == "○ undecided"
    assert found.estimate is not None
    assert rows["strong-helps"][2] == f"{found.estimate:.3f}".replace("-", "\N{MINUS SIGN}")
    assert rows["strong-helps"][4:] == ("< 0.001", "4/4")
    assert rows["remap-is-late"][4:] == ("-", "2/4")


def test_a_reason_is_told_without_the_verdict_beside_it(summary: Summary) -> None:
    told = replace(summary.answers[2], reason="undecided: the mean of layers-4 is -0.1; a -.2e-3")
    study = replace(summary, answers=(told,))
    (row,) = answered(study.answers, metric=study.metric, links={}).table.rows
    (evidence,) = evidence_of(study, linked=())

    # With the minus of the numbers beside it; names and exponents are as they are.
    assert row.cells[0].note == evidence.reason
    assert evidence.reason == "the mean of layers-4 is \u22120.1; a \u2212.2e-3"


def test_a_whole_has_no_estimate_and_a_part_no_adjusted_p(summary: Summary) -> None:
    rows = rows_of(summary)

    assert rows["both-help"][1:] == ("", "", "", "0.210", "")
    assert rows["first"][4:] == ("", "4/4")


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize(
    ("question", "num_margins"),
    [
        (QuestionConfig(), 0),
        (QuestionConfig(expect="no worse", margin=0.3), 1),
        (QuestionConfig(expect="alike", margin=0.3), 2),
    ],
)
def test_better_is_to_the_right_in_the_bar_and_in_the_plot(
    mode: Literal["min", "max"], question: QuestionConfig, num_margins: int
) -> None:
    sign = 1 if mode == "max" else -1
    better = answer("q", {1: sign * 0.1, 2: sign * 0.2}, question=question, mode=mode)
    bar, plot = drawings(better)

    mean = float(re.findall(r'circle cx="([\d.]+)"', bar)[0])
    zero = float(re.findall(r'class="zero" d="M([\d.]+)', bar)[0])
    margins = [float(x) for x in re.findall(r'class="margin" d="M([\d.]+)', bar)]
    assert mean > zero
    assert len(margins) == num_margins
    assert [m for m in margins if m < zero] == margins[:1]
    first, second = dots(plot)
    assert float(re.findall(r'class="zero" d="M([\d.]+)', plot)[0]) < first < second
    assert plot.count(">margin<") == num_margins


def drawings(one: Answer) -> tuple[str, str]:
    """Return the bar and the dot plot of an answer."""
    study = replace(answered_summary(), answers=(one,))
    (row,) = answered(study.answers, metric=study.metric, links={}).table.rows
    (evidence,) = evidence_of(study, linked=())
    assert evidence.differences is not None
    return str(row.cells[1].text), str(evidence.differences.drawing)


def test_the_evidence_has_each_seed_each_arm_with_its_weight_and_their_curves(
    summary: Summary,
) -> None:
    linked = {arm.id for arm in summary.arms}
    found = {e.id: e for e in evidence_of(summary, linked=linked)}
    ids = evidence_ids(summary.answers)

    assert list(found) == list(ids.values())
    for index, place in ids.items():
        asked, shown = summary.answers[index], found[place]
        assert shown.differences is not None
        assert len(dots(str(shown.differences.drawing))) == len(asked.differences)
        assert [row.head for row in shown.differences.table.rows] == [
            f"seed {seed}" for seed in asked.differences
        ]
        weights = [
            float(str(r.cells[0].text).replace("\N{MINUS SIGN}", "-")) for r in shown.arms.rows
        ]
        assert weights == sorted(asked.weights.values(), reverse=True)
        assert (shown.curves is None) == (not asked.weights)
    assert "weight=1 init=none" in text_of(str(found["evidence-0"].arms.rows[0].head))


def test_marks_are_explained_where_they_are_and_not_elsewhere(
    summary: Summary, outline: Outline
) -> None:
    meanings = {
        "asked afterwards": "which may have suggested it",
        "withdrawn": "taken out of the study when its arms had results",
        "Part of both-help": "must hold for the question above it",
    }
    plain = Outline(page(replace(summary, answers=summary.answers[:2]), refresh_seconds=None))

    for mark, meaning in meanings.items():
        assert mark in outline.text
        assert meaning in outline.text
        assert meaning not in plain.text


def test_text_of_a_question_never_becomes_markup(summary: Summary) -> None:
    text = "<script>alert(1)</script>\"'&</style><i>"
    hostile = [
        replace(
            a,
            name=text,
            asked=text,
            metric=text,
            reason=text,
            part_of=a.part_of and text,
            question=replace(a.question, claim=text, source=text),
        )
        for a in summary.answers
    ]
    found = Outline(page(replace(summary, answers=tuple(hostile)), refresh_seconds=None))

    assert not {"script", "i"} & set(found.tags)
    assert found.text.count(text) > 8 * len(hostile)


def test_a_question_without_results_has_a_row_and_says_why(summary: Summary) -> None:
    waiting = answer("q", {}, reason="4 of 4 seeds missing: 4 waiting")
    found = Outline(page(replace(summary, answers=(waiting,)), refresh_seconds=None))

    assert "4 of 4 seeds missing" in found.text
    assert "0/4" in found.text
    assert "No seed has all of its runs yet." in found.text


def test_the_page_of_many_questions_is_small_and_says_what_it_leaves_out(summary: Summary) -> None:
    first = summary.answers[0]
    arms = dict.fromkeys((arm.id for arm in summary.arms), 0.1) | {f"a{i}": 0.1 for i in range(60)}
    many = [replace(first, name=f"q{i}") for i in range(110)]
    many[0] = replace(many[0], weights=arms, differences=dict.fromkeys(range(50), 0.1))
    text = page(replace(summary, answers=tuple(many)), refresh_seconds=None)

    assert len(text.encode()) < 5_000_000
    assert "The first 100 questions; 10 more are in summary.json." in text
    assert "The first 40 of 75 arms; all are in summary.json." in text
    assert "The first 40 of 50 seeds." in text
    assert "Its curves are in no figure of their own" in text


@pytest.mark.parametrize(("num_seeds", "lowest", "highest"), [(2, "2.8", "3.2"), (3, "1", "5")])
def test_a_band_is_the_interval_from_three_seeds_on_before_it_is_the_range(
    summary: Summary, num_seeds: int, lowest: str, highest: str
) -> None:
    def spread(point: CurvePoint) -> CurvePoint:
        known = replace(point, mean=3.0, low=2.8, high=3.2, num_trials=num_seeds)
        return replace(known, ci_low=1.0, ci_high=5.0)

    curves = [replace(c, points=tuple(spread(p) for p in c.points)) for c in summary.curves]
    figure = learning_curves(replace(summary, curves=tuple(curves))).panels[0]

    marks = re.findall(r'class="mark y"[^>]*>([^<]*)<', str(figure.drawing))
    assert (marks[0], marks[-1]) == (lowest, highest)
    assert [cell.text for cell in figure.table.rows[0].cells[3:7]] == [
        "3.00", "2.80", "3.20", "1.00 to 5.00"
    ]  # fmt: skip
