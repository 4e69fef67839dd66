"""What a sweep prints in a log beside the changes of its runs."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from raykd.cli.sweep_progress import SweepDisplay
from raykd.ray_cluster.pending import Wait
from raykd.sweep.plan.plan import plan_sweep
from raykd.sweep.record import Record, State
from rich.console import Console

from tests.sweep_files import WEIGHT, sweep_in, write_runs
from tests.unit.sweep.study.studies import finish, handed_out, run_of, study_of


def test_why_trials_wait_is_said_again_only_when_the_reason_changes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = study_of(tmp_path, [run_of(tmp_path, "one")])
    with SweepDisplay() as display:
        for wait in (
            None,
            Wait(seconds=31, reason="all nodes are busy"),
            Wait(seconds=36, reason="all nodes are busy"),
            Wait(seconds=41, reason="a node is coming"),
            None,
        ):
            display.show(study, wait)
    assert capsys.readouterr().out.splitlines() == [
        "waiting 31 s: all nodes are busy",
        "waiting 41 s: a node is coming",
    ]


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_change_is_one_line_on_a_terminal_and_whole_in_a_log(
    is_terminal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = io.StringIO()
    console = Console(file=printed, force_terminal=is_terminal, width=80, color_system=None)
    monkeypatch.setattr("raykd.cli.sweep_progress.console", console)
    values = {"losses.forward_kl.weight": 0.2, "optimizer.learning_rate": 0.0003}
    other = {key: 2 * value for key, value in values.items()}
    runs = [
        run_of(tmp_path, name, coordinates={"teacher": "small", "quality": 0.25} | each)
        for name, each in (("one", values), ("two", other))
    ]
    study = study_of(tmp_path, runs)
    display = SweepDisplay()
    for run_id in handed_out(study):
        study.started(run_id)
    display.show(study, None)
    finish(study, "one")
    display.show(study, None)
    (line,) = [each for each in printed.getvalue().splitlines() if "done" in each[:10]]
    assert line.startswith("1/2  done ")
    assert (len(line) <= 80) == is_terminal
    assert line.endswith("learning_rate=0.0003") != is_terminal


def test_each_look_at_the_results_is_told_with_what_is_trained_for_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_runs(tmp_path)
    questions = {
        "early": {"compare": {"weight": 1}, "with": {"weight": 2}, "at": 0.5},
        "late": {"compare": {"weight": 1}, "with": {"weight": 2}},
        "both": {"all": ["early", "late"]},
    }
    sweep = sweep_in(
        tmp_path,
        search={WEIGHT: {"grid": [1, 2]}},
        seeds={"at_least": 2, "at_most": 3},
        questions=questions,
    )
    told: dict[str, Record] = {}
    with SweepDisplay() as display:
        for _ in range(3):
            plan = plan_sweep(sweep, known=told)
            display.decided(plan)
            told = {r.id: _done(r) for r in plan.records}
    assert capsys.readouterr().out.splitlines() == [
        "look 1 of 2: 6 trials, more where questions are undecided",
        "look 2 of 2: 1 question undecided, 2 more trials",
        "look 2 of 2 is over: no question gets more seeds",
    ]


def _done(record: Record) -> Record:
    evaluations = tuple({"step": s, "tokens": 9 * s, "eval/loss": 3.0} for s in (3, 6))
    return replace(record, state=State.DONE, evaluations=evaluations)
