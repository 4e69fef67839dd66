"""Whether a sweep goes on is what its driver's lease says, and who reads is told what goes on."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from raykd.report.html import page
from raykd.report.standing import standing_of
from raykd.report.summary import summarise
from raykd.report.terminal import status_line
from raykd.sweep.ledger import read_ledger
from raykd.sweep.record import State

from tests.sweeps import COMMAND, driver, ledger_of, rich_ledger, trial_of, write_ledger

GOES_ON = f"The same command goes on: {COMMAND}"


def test_a_sweep_whose_driver_was_heard_lately_is_going() -> None:
    found = standing_of(rich_ledger(is_over=False))
    assert found.kind == "going"
    assert re.fullmatch(
        r"Its driver is process \d+ on .*, last heard of 0 s ago, .* UTC\.", found.text
    )


def test_a_driver_that_is_silent_on_another_machine_is_dead(tmp_path: Path) -> None:
    lease = replace(driver(host="far-away", silent_seconds=7_200), heartbeat=1_700_000_000.0)
    write_ledger(replace(rich_ledger(str(tmp_path), is_over=False), lease=lease))
    ledger = read_ledger(str(tmp_path))
    assert ledger.lease == lease
    found = standing_of(ledger)
    assert found.kind == "dead"
    assert f"process {lease.process_id} on far-away, is dead: last heard of" in found.text
    assert "h ago, 2023-11-14 22:13:20 UTC. " in found.text
    assert found.text.endswith(GOES_ON)


def test_a_driver_of_this_machine_that_is_gone_is_dead_at_once() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    lease = replace(driver(), process_id=ended.pid)
    assert standing_of(replace(rich_ledger(is_over=False), lease=lease)).kind == "dead"


def test_a_driver_that_left_in_order_has_stopped_the_sweep() -> None:
    found = standing_of(ledger_of([trial_of({}, state=State.WAITING)]))
    assert found.text == f"No driver is at it. {GOES_ON}"


def test_without_a_known_command_none_is_named() -> None:
    ledger = ledger_of([trial_of({}, state=State.WAITING)])
    assert standing_of(replace(ledger, command="")).text.endswith("The same command goes on.")


def test_a_sweep_that_is_over_needs_no_driver() -> None:
    over = standing_of(replace(rich_ledger(), lease=driver(silent_seconds=7_200)))
    assert (over.kind, over.text) == ("over", "")


def test_what_ran_when_the_driver_died_waits_in_terminal_and_page() -> None:
    dead = replace(rich_ledger(is_over=False), lease=driver(silent_seconds=100))
    summary = summarise(dead)
    assert "2 waiting, 1 stopped" in status_line(summary)
    assert status_line(summary).endswith("not going on")
    html = page(summary, refresh_seconds=None)
    assert "Not going on: 56 of 58 trials ended, 2 waiting, 52 done" in html
    assert "raykd sweep study.yaml" in html
    assert "is dead: last heard of 2 min ago" in html
