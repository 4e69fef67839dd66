"""What a sweep prints in a log beside the changes of its runs."""

from pathlib import Path

import pytest
from raykd.cli.sweep_progress import SweepDisplay
from raykd.train.waiting import Wait

from tests.unit.sweep.studies import run_of, study_of


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
