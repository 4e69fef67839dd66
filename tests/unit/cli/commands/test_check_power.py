"""Before a study costs anything, its owner reads what it can show, and what it cannot."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from raykd.cli.commands.check_power import power_lines, power_warnings
from raykd.cli.main import main
from raykd.config.load import load_sweep, plain
from raykd.config.schema.questions import QuestionConfig
from raykd.report.terminal import WIDTH
from raykd.sweep.ledger import SweepPaths, write_index, write_records
from raykd.sweep.plan.plan import plan_sweep
from raykd.sweep.questions.power import Power, QuestionPower, Spread, StudyPower
from raykd.sweep.record import Record, State
from rich.console import Console

from tests.sweep_files import WEIGHT, write_runs, write_sweep

TEST = Power(expect="better", num_tests=2, first_seeds=3, num_seeds=3, spread=None, wanted=None)
KNOWN = Spread(limit=0.1, num_seeds=3, origin="the pilot")
SMALL = {"compare": {"weight": 1}, "with": {"weight": 0.5}, "detect": 0.01}
AGAINST = {"compare": {"weight": 0.5}, "with": {"weight": 0.5, "control": True}}


def asked(name: str, power: Power | None, **given: Any) -> QuestionPower:
    return QuestionPower(name=name, question=QuestionConfig(**given), part_of=None, power=power)


def study(*questions: QuestionPower, arms: Power | None = None) -> StudyPower:
    return StudyPower(questions=questions, arms=arms, has_pilot=False)


def shown(power: StudyPower) -> list[str]:
    console = Console(file=io.StringIO(), width=WIDTH)
    console.print(*power_lines(power), sep="\n")
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def files(directory: Path, **given: Any) -> Path:
    questions = {"small": SMALL, "half": AGAINST}
    grid = {"search": {WEIGHT: {"grid": [0.5, 1]}}, "questions": questions}
    return write_sweep(write_runs(directory), grid | given)


def leave_results(path: Path, name: str) -> str:
    """Leave a study whose losses are 2 and a tenth of the seed times the weight."""
    plan = plan_sweep(replace(load_sweep(path), name=name))

    def done(record: Record) -> Record:
        loss = 2 + 0.1 * record.seed * record.coordinates.get(WEIGHT, 0)
        evaluation = {"step": record.num_steps, "tokens": 1, "eval/loss": loss}
        return replace(record, state=State.DONE, evaluations=(evaluation,))

    paths = SweepPaths(sweep=plan.uri)
    write_records(paths, map(done, plan.records))
    ids = [record.id for record in plan.records]
    write_index(paths, sweep=plain(plan.sweep), run_ids=ids)
    return plan.uri


def checked(path: Path, capsys: pytest.CaptureFixture[str], *overrides: str) -> dict[str, str]:
    """Return the lines below the plan by their first words."""
    assert main(["check", str(path), "--no-measure", *overrides]) == 0
    lines = capsys.readouterr().out.partition("What is found")[2].splitlines()
    return {line.partition("  ")[0]: " ".join(line.split()) for line in lines if line.strip()}


def test_each_question_has_a_line_with_what_its_seeds_find(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = checked(files(tmp_path, seeds=[1, 2, 3]), capsys)
    assert lines["question"] == "question expects seeds finds"
    assert lines["small"] == "small better 3 4.62 SD"
    assert lines["half"] == "half better 3 4.62 SD"
    assert lines["2 arm(s) against controls"].endswith("different 3 4.62 SD")


def test_a_pilot_puts_it_in_units_of_the_metric(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = files(tmp_path, seeds=[1, 2, 3])
    lines = checked(path, capsys, f"pilot={leave_results(path, 'pilot')}")
    # The losses differ by 0.05 for each seed: a deviation of 0.05, 0.1059 at its limit.
    assert lines["small"] == "small better 3 4.62 SD 0.4895 0.0100 1% > 1,000 seeds"
    assert lines["half"] == "half better 3 4.62 SD 0.4895 - - -"
    text = " ".join(lines.values())
    assert "by 3 seeds of the pilot, the upper 80% confidence limit" in text
    assert "warning: too few seeds for what is wanted: small finds it in 1% of cases" in text


def test_a_question_without_arms_is_a_problem_and_the_others_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {"compare": {"weight": 7}, "with": {"weight": 0.5}}
    path = files(tmp_path, questions={"wrong": wrong, "half": AGAINST}, seeds=[1, 2, 3])
    assert main(["check", str(path), "--no-measure"]) == 2
    lines = capsys.readouterr().out.splitlines()
    assert "wrong better" in {" ".join(line.split()) for line in lines}
    assert "half better 3 4.62 SD" in {" ".join(line.split()) for line in lines}


def test_a_place_that_is_no_pilot_is_one_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(files(tmp_path)), "--no-measure", f"pilot={tmp_path}"]) == 2
    assert f"1 problem(s)\n  - pilot={tmp_path} holds no sweep" in capsys.readouterr().out


def test_eighteen_questions_are_readable_in_a_hundred_columns() -> None:
    test = replace(TEST, num_tests=18, num_seeds=12, spread=KNOWN, wanted=0.005)
    names = [f"copying-counts-more-than-{index:02d}" for index in range(17)]
    power = study(*(asked(name, test) for name in names), asked("all", None, all=("a", "b")))
    lines = shown(replace(power, arms=replace(TEST, num_tests=7, is_of_arms=True)))
    # Title, headings, questions, arms, levels, what the units rest on.
    assert len(lines) == 2 + 1 + 18 + 1 + 1 + 2
    assert max(map(len, lines)) <= WIDTH


def test_a_study_without_anything_to_compare_shows_nothing() -> None:
    assert list(power_lines(study())) == []
    assert list(power_warnings(study())) == []


def test_one_seed_is_said_to_answer_nothing_once() -> None:
    one = replace(TEST, first_seeds=1, num_seeds=1)
    (warning,) = power_warnings(study(asked("a", one), asked("b", one), arms=one))
    assert warning.startswith("one seed tells nothing of the spread over seeds")


def test_questions_that_find_only_what_is_rare_are_named_with_the_seeds_that_help() -> None:
    hard, easy = replace(TEST, num_tests=18), replace(TEST, num_seeds=12)
    questions = [asked(name, hard) for name in ("a", "b", "c", "d")] + [asked("e", easy)]
    (warning,) = power_warnings(study(*questions))
    assert warning == (
        "a, b, c and 1 other(s): 3 seeds find differences of 13.89 SD, and seldom smaller ones; "
        "8 seeds find 2.00 SD"
    )


def test_a_margin_that_the_seeds_cannot_tell_is_told_with_those_that_could() -> None:
    alike = replace(TEST, expect="alike", spread=KNOWN, wanted=0.02)
    wide = replace(alike, wanted=2.0)
    questions = [asked("alike", alike, expect="alike", margin=0.02), asked("wide", wide)]
    (warning,) = power_warnings(study(*questions))
    assert warning.startswith("too few seeds for what is wanted: alike finds it in 0% of cases")
    assert f"needs {alike.needed_seeds} seeds" in warning


def test_arms_are_warned_of_only_where_nothing_is_asked() -> None:
    arms = replace(TEST, expect="different", num_tests=7, is_of_arms=True)
    easy = asked("easy", replace(TEST, num_seeds=12))
    assert list(power_warnings(study(easy, arms=arms))) == []
    (warning,) = power_warnings(study(arms=arms))
    assert warning.startswith("the comparison of the arms: 3 seeds find differences of")


def test_a_pilot_that_lacks_arms_is_told() -> None:
    known = replace(TEST, spread=KNOWN)
    power = study(asked("known", known), asked("lacking", TEST))
    assert list(power_warnings(replace(power, has_pilot=True))) == [
        "the pilot has no results of the arms of lacking"
    ]
    assert list(power_warnings(power)) == []
