"""The report in a log begins with the questions and their answers."""

import io
from dataclasses import replace

import pytest
from raykd.config.schema.questions import QuestionConfig
from raykd.report.bars import reaches
from raykd.report.summary import ANSWERS_RULE, Summary
from raykd.report.terminal import WIDTH, status_line, terminal_report
from raykd.report.terminal.intervals import axis, drawn
from rich.console import Console

from tests.answered import answer, answered_summary


@pytest.fixture(scope="module")
def answered() -> Summary:
    return answered_summary()


def shown(summary: Summary) -> list[str]:
    stream = io.StringIO()
    console = Console(file=stream, width=WIDTH, highlight=False)
    console.print(terminal_report(summary, page_uri="report.html"))
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def block(lines: list[str], name: str) -> list[str]:
    """Return the line of a question and what stands below it."""
    first = next(i for i, line in enumerate(lines) if line.split()[:1] == [name])
    depth = len(lines[first]) - len(lines[first].lstrip())
    below = lines[first + 1 :]
    end = next(i for i, line in enumerate(below) if not line.startswith(" " * (depth + 1)))
    return [lines[first], *below[:end]]


def test_answers_stand_above_the_exploration_of_arms_and_the_rule_between(
    answered: Summary,
) -> None:
    lines = shown(answered)
    titles = ["questions: eval/loss (less is better)", "exploration, each arm against its control"]
    places = [next(i for i, line in enumerate(lines) if line.startswith(t)) for t in titles]
    assert places == sorted(places)
    assert " ".join(ANSWERS_RULE.split()) in " ".join(" ".join(lines[slice(*places)]).split())
    assert max(map(len, lines)) <= WIDTH


def test_the_status_counts_answers_without_parts_and_withdrawn_ones(answered: Summary) -> None:
    assert status_line(answered).startswith(
        "rich: answers: 1 yes, 1 no, 3 undecided; asked afterwards: 1 yes; 54 of 58 trials done"
    )


def test_an_answer_has_its_estimate_interval_p_seeds_and_claim(answered: Summary) -> None:
    first, *below = block(shown(answered), "strong-helps")
    assert first.split()[:7] == [
        *("strong-helps", "yes", "-0.3860", "-0.4046", "to", "-0.3674", "<"),
    ]
    assert "< 0.001    4/4" in first
    assert below == ["  A fully trained teacher helps its student. (Weak teachers, 2023)"]


def test_an_undecided_answer_says_why_and_a_decided_one_does_not(answered: Summary) -> None:
    lines = shown(answered)
    late = block(lines, "remap-is-late")
    assert late[0].split()[1:7] == ["undecided", "+0.2150", "-0.9921", "to", "+1.4221", "-"]
    assert late[-1] == "  2 of 4 seeds missing: 1 failed, 1 running"
    assert block(lines, "weak-helps")[1:] == ["  So does one that is trained by a quarter."]


def test_parts_are_indented_under_their_whole(answered: Summary) -> None:
    whole, claim, reason, first, _, second, *_ = block(shown(answered), "both-help")
    assert whole.split() == ["both-help", "undecided", "0.210"]
    assert (claim, reason) == ("  Each of both helps.", "  second is undecided")
    assert (first[:9], second[:9]) == ("  first  ", "  second ")


@pytest.mark.parametrize(
    ("name", "mark"), [("remap-gains", "asked afterwards"), ("weight-4-is-better", "withdrawn")]
)
def test_what_was_not_planned_is_marked(answered: Summary, name: str, mark: str) -> None:
    below = block(shown(answered), name)[1]
    assert below.startswith(f"  {mark}: ")


def test_another_metric_than_the_studys_is_named(answered: Summary) -> None:
    other = answer("sst2", {1: 0.1, 2: 0.2}, metric="probe/sst2/accuracy", mode="max")
    lines = shown(replace(answered, answers=(other,)))
    assert block(lines, "sst2")[1] == "  sst2 is better; probe/sst2/accuracy (more is better)"


def test_a_long_name_and_wide_numbers_keep_the_lines_short(answered: Summary) -> None:
    name = "x" * 60
    wide = answer(name, {1: -23_456.5, 2: 34_567.5}, adjusted_p=None)
    lines = shown(replace(answered, answers=(wide,)))
    assert max(map(len, lines)) <= WIDTH
    at = lines.index(name)
    assert lines[at + 1].split()[:2] == ["undecided", "+5555.5000"]


def test_a_question_that_rests_on_two_seeds_is_a_caution(answered: Summary) -> None:
    plain = replace(answered, arms=())
    few, more = answer("few", {1: 0.1, 2: 0.2}), answer("more", {1: 0.1, 2: 0.2, 3: 0.3})
    assert replace(plain, answers=(more, few)).caution
    assert not replace(plain, answers=(more,)).caution


def test_a_study_without_questions_shows_none(answered: Summary) -> None:
    lines = shown(replace(answered, answers=()))
    assert lines[0].startswith("rich: 54 of 58 trials done")
    assert not any("question" in line or "exploration" in line for line in lines)


def test_better_is_drawn_to_the_right_whatever_that_means() -> None:
    less = replace(answer("less", {1: -1.0}), low=-1.5, high=-0.5)
    assert drawn(less, reach=2, width=9) == "    │─●─ "
    assert drawn(replace(less, mode="max"), reach=2, width=9) == " ─●─│    "


def test_an_interval_shows_what_it_crosses_and_where_it_goes_on() -> None:
    crossing = replace(answer("x", {1: 1.0, 2: 2.0}, mode="max"), low=-1.0, high=9.0)
    assert drawn(crossing, reach=2, width=9) == "  ──┼──●▸"
    assert drawn(replace(crossing, low=None), reach=2, width=9) == "    │  ● "
    assert drawn(replace(crossing, estimate=None), reach=2, width=9) == ""


@pytest.mark.parametrize(
    ("expect", "mode", "picture"),
    [
        ("alike", "max", "  ┊ │ ┊ "),
        ("no worse", "max", "  ┊ │   "),
        ("no worse", "min", "  ┊ │   "),
    ],
)
def test_a_margin_is_marked_on_the_side_where_it_counts(
    expect: str, mode: str, picture: str
) -> None:
    question = QuestionConfig(expect=expect, margin=1.0)  # type: ignore[arg-type]
    far = answer("x", {1: 2.0}, question=question, mode="max")
    estimate = 2.0 if mode == "max" else -2.0
    drawing = drawn(replace(far, mode=mode, estimate=estimate), reach=2, width=9)  # type: ignore[arg-type]
    assert drawing == picture + "●"


def test_questions_of_a_metric_share_a_scale_and_margins_have_their_own() -> None:
    small, large = answer("small", {1: 0.1}), answer("large", {1: -2.0})
    other = answer("other", {1: 30.0}, metric="steps")
    alike = answer("alike", {1: 0.01}, question=QuestionConfig(expect="alike", margin=0.04))
    assert reaches([small, other, large, alike]) == pytest.approx([2.0, 30.0, 2.0, 0.05])


def test_the_axis_names_its_ends_where_there_is_room() -> None:
    assert axis(21) == "worse     │    better"
    assert axis(9) == ""
