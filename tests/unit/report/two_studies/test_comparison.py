"""Two studies side by side: keys, answers and arms that differ, and in a log."""

import io
from collections.abc import Sequence
from dataclasses import replace

import pytest
from raykd.config.schema.questions import QuestionConfig
from raykd.report.summary import Summary, summarise
from raykd.report.terminal import WIDTH
from raykd.report.two_studies.comparison import TwoStudies, compared
from raykd.report.two_studies.screen import comparison_screen
from raykd.sweep.questions.answers import Answer
from raykd.sweep.record import Record
from rich.console import Console

from tests.answered import answer, answered_summary
from tests.sweeps import arm_and_control, ledger_of

WEIGHT = "losses.forward_kl.weight"


def study(*answers: Answer, records: Sequence[Record] = (), **sweep: object) -> Summary:
    summary = summarise(ledger_of(records))
    return replace(summary, answers=answers, sweep=summary.sweep | sweep)


def shown(studies: TwoStudies) -> list[str]:
    stream = io.StringIO()
    Console(file=stream, width=WIDTH, highlight=False).print(comparison_screen(studies))
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def arms(*own: float, weight: float = 1) -> list[Record]:
    """Return an arm by its values, and its control, which ends with 3.0 for every seed."""
    return arm_and_control({WEIGHT: weight}, own=own, control=[3.0] * len(own))


def test_keys_that_differ_have_both_values_as_deep_as_both_are_sections() -> None:
    a = study(seeds=[1], tune={"values": {"x": [1]}, "metric": "eval/loss"})
    b = study(seeds=[1, 2], tune={"values": {"x": [2]}, "metric": "eval/loss"}, pilot="s3://b/x")
    assert compared(a, b).files == {
        "seeds": ([1], [1, 2]),
        "tune.values.x": ([1], [2]),
        "pilot": (None, "s3://b/x"),
    }


def test_questions_are_told_with_their_answers_and_not_as_keys() -> None:
    asked = {"helps": {"with_": 0.0, "expect": "better"}}
    assert compared(study(questions=asked), study(questions={})).files == {}


def test_changed_answers_stand_first_and_those_that_are_the_same_last() -> None:
    narrower = QuestionConfig(expect="alike", margin=0.1)
    wider = QuestionConfig(expect="alike", margin=0.2)
    a = study(
        answer("same", {1: 0.1}),
        answer("mine", {}),
        answer("margin", {}, question=narrower),
        answer("flips", {1: 0.2}, verdict="yes"),
    )
    b = study(
        answer("yours", {}),
        answer("flips", {1: -0.3}, verdict="no"),
        answer("margin", {}, question=wider, verdict="yes"),
        answer("same", {1: 0.3}),
    )
    found = compared(a, b).answers
    assert [(pair.name, pair.change) for pair in found] == [
        ("flips", "changed"),
        ("margin", "asked otherwise"),
        ("mine", "only in A"),
        ("yours", "only in B"),
        ("same", "same"),
    ]
    flips = found[0]
    assert flips.a is not None
    assert flips.b is not None
    assert (flips.a.verdict, flips.a.estimate) == ("yes", 0.2)
    assert (flips.b.verdict, flips.b.estimate) == ("no", -0.3)


@pytest.mark.parametrize(
    ("question", "metric", "change"),
    [
        (QuestionConfig(claim="Said otherwise.", source="Me", detect=0.1), "eval/loss", "same"),
        (QuestionConfig(at=0.1), "eval/loss", "asked otherwise"),
        (QuestionConfig(), "test/loss", "asked otherwise"),
    ],
)
def test_a_question_is_another_by_what_it_asks_and_not_by_what_is_said_of_it(
    question: QuestionConfig, metric: str, change: str
) -> None:
    a = study(answer("x", {}))
    b = study(answer("x", {}, question=question, metric=metric))
    assert [pair.change for pair in compared(a, b).answers] == [change]


def test_a_question_that_was_asked_anew_counts_before_the_withdrawn_one() -> None:
    gone = answer("x", {}, verdict="no", is_withdrawn=True)
    (pair,) = compared(study(answer("x", {}), gone), study(gone)).answers
    assert (pair.a and pair.a.verdict, pair.b and pair.b.is_withdrawn) == ("undecided", True)


def test_arms_are_found_by_their_coordinates_and_told_where_their_verdict_differs() -> None:
    a = study(records=[*arms(2.0, 2.01, 2.03), *arms(2.9, 3.2, weight=2)[2:]])
    b = study(records=arms(4.0, 4.01, 4.03))
    found = compared(a, b)
    # The control and one arm; weight 2 is in A alone.
    assert (found.num_arms, found.num_same_runs) == (2, 2)
    (arm,) = found.arms
    assert (arm.label, arm.a, arm.b) == ("weight=1", "better", "worse")
    assert arm.a_difference == pytest.approx(-0.98666, abs=1e-4)
    assert compared(a, a).arms == ()


def test_arms_of_the_same_coordinates_may_be_other_runs() -> None:
    theirs = [replace(record, arm=f"{record.arm}-larger") for record in arms(2.0, 2.1)]
    found = compared(study(records=arms(2.0, 2.1)), study(records=theirs))
    assert (found.num_arms, found.num_same_runs) == (2, 0)
    assert "2 of the arms in common are other runs in B" in " ".join(shown(found))


def test_a_log_shows_files_answers_and_arms_in_lines_that_fit() -> None:
    a = answered_summary()
    b = replace(
        answered_summary(is_over=False),
        sweep=a.sweep | {"seeds": list(range(40)), "name": "[red]other[/red]"},
        answers=tuple(replace(each, verdict="yes") for each in a.answers[1:]),
    )
    lines = shown(compared(a, b))
    assert max(map(len, lines)) <= WIDTH
    assert lines[0] == "A  rich  sweeps/rich"
    assert lines[1] == "B  rich  sweeps/rich  not over"
    words = " ".join(" ".join(lines).split())
    for fact in (
        'what differs in the files key A B name "rich" "[red]other[/red]"',
        "answers: 6 of 8 in both changed",
        "weak-helps no +0.5132 yes +0.5132 changed",
        "weight-4-is-better no, withdrawn +0.4922 yes, withdrawn +0.4922 changed",
        "strong-helps yes -0.3860 - - only in A",
        "remap-gains yes, afterwards -0.4053 yes, afterwards -0.4053",
        "arms in common: 15, 0 with another verdict",
    ):
        assert fact in words


def test_of_studies_that_are_alike_that_is_said() -> None:
    assert "the files are the same, questions apart" in shown(compared(study(), study()))
