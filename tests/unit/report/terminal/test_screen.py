"""The report in a log says what matters, in lines that fit."""

import io

import pytest
from raykd.report.summary import Summary, summarise
from raykd.report.terminal import WIDTH, status_line, terminal_report
from raykd.report.units import amount, duration, number, share
from raykd.sweep.record import State
from rich.console import Console

from tests.sweeps import arm_and_control, ledger_of, many_trials, rich_ledger, trial_of


def shown(summary: Summary) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=WIDTH, highlight=False)
    console.print(terminal_report(summary, page_uri="s3://bucket/sweeps/rich/report/report.html"))
    return stream.getvalue()


def test_a_log_has_verdicts_rule_heat_maps_cost_events_and_the_page() -> None:
    summary = summarise(rich_ledger(is_over=False))
    text = shown(summary)
    words = " ".join(text.split())
    assert max(len(line.rstrip()) for line in text.splitlines()) <= WIDTH
    for fact in (
        "rich: 52 of 58 trials done, 1 waiting, 1 running, 1 stopped, 1 failed, 2 blocked",
        "1 of 2 teachers' runs done, 1 failed of them, still going",
        "eval/loss (less is better)",
        "4/4 2.9943 -0.5985 -0.6537 to -0.5434 < 0.001 better",
        "4/4 4.1061 +0.5132 +0.4666 to +0.5598 0.004 worse",
        "2 of 2 pairs missing: 2 blocked",
        summary.rule,
        "difference to the control (pairs): teacher by weight",
        "strong 1 -0.1969 (8) -0.3956 (8) -0.6054 (8)",
        "broken 1 - - -",
        "all 60 1 269 k 212 M 21.1% 28 min",
        "2 failed",
        "NonFiniteLossError: step 61: loss is nan",
        "broken: no such checkpoint <s3://b>",
        "report: s3://bucket/sweeps/rich/report/report.html",
    ):
        assert fact in words


def test_nothing_known_yet_is_shown_as_dashes() -> None:
    control = trial_of({}, is_control=True, state=State.WAITING)
    trial = trial_of({"weight": 1}, control=control, state=State.WAITING)
    words = " ".join(shown(summarise(ledger_of([control, trial]))).split())
    assert "control 0/1 - - - - -" in words
    assert "weight=1 0/1 - - - - inconclusive" in words
    assert "not tested: weight=1: one seed: an anecdote" in words
    assert "study: 0 of 2 trials done, 2 waiting, stopped" in words


@pytest.mark.parametrize(("num_seeds", "is_told"), [(2, True), (3, False)])
def test_two_seeds_are_a_caution(num_seeds: int, is_told: bool) -> None:
    own, control = [2.0, 2.001, 2.1][:num_seeds], [3.0, 3.0, 3.0][:num_seeds]
    words = " ".join(
        shown(summarise(ledger_of(arm_and_control({}, own=own, control=control)))).split()
    )
    assert "better" in words
    assert ("With two seeds an interval rests on one degree of freedom" in words) == is_told


def test_an_empty_sweep_is_shown() -> None:
    assert "study: 0 of 0 trials done, over" in shown(summarise(ledger_of([])))


def test_names_with_brackets_are_shown_as_they_are() -> None:
    records = arm_and_control({"teacher": "[red]x[/red]"}, own=[1.0], control=[2.0])
    assert "teacher=[red]x[/red]" in shown(summarise(ledger_of(records)))


def test_of_many_arms_the_best_are_shown_with_all_controls() -> None:
    summary = summarise(many_trials(1_000))
    text = " ".join(shown(summary).split())
    assert "the best 40 of 200 arms; the report has all" in text
    controls = [arm for arm in summary.arms if arm.is_control]
    assert text.partition("cost of")[0].count("control weight=") == len(controls) == 20


def test_the_status_is_one_line() -> None:
    assert status_line(summarise(rich_ledger())) == (
        "rich: 54 of 58 trials done, 1 stopped, 1 failed, 2 blocked, "
        "1 of 2 teachers' runs done, 1 failed of them, over"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.0, "0.0000"), (2.25, "2.2500"), (1e-5, "1.000e-05"), (1e30, "1.000e+30")],
)
def test_numbers_are_short(value: float | None, text: str) -> None:
    assert number(value) == text


def test_amounts_have_a_unit() -> None:
    assert [amount(v) for v in (None, 0, 999, 12_345, 3e9, 4.5e16, 2e21)] == [
        *("-", "0", "999", "12.3 k", "3 G", "45 P", "2.00e+21"),
    ]
    assert (share(0.125), share(None)) == ("12.5%", "-")
    assert [duration(s) for s in (0.2, 89, 90, 5_399, 5_400)] == [
        *("0 s", "89 s", "2 min", "90 min", "1.5 h"),
    ]
