"""The demo runs from nothing to its answers, here with small numbers."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from raykd.report.summary import summarise
from raykd.sweep.ledger import read_ledger
from raykd.sweep.record import State

ROOT = Path(__file__).parents[2]
SMALL = [
    "train.num_steps=4",
    "train.eval_every_steps=2",
    "train.log_every_steps=2",
    "train.global_batch_size=4",
    "train.micro_batch_size=4",
]


@pytest.mark.ray
@pytest.mark.timeout(900)
def test_demo_ends_in_answers_a_page_and_working_commands(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "jobs" / "demo.py"), "--directory", str(tmp_path), *SMALL],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    ledger = read_ledger(str(tmp_path / "sweeps" / "demo"))
    assert len(ledger.stages) == 1
    # 2 qualities of the teacher, and the control, of 3 seeds each.
    assert len(ledger.trials) == (2 + 1) * 3
    assert {record.state for record in ledger.records.values()} == {State.DONE}
    # After a few steps nothing is decided but by accident; that each is answered is what counts.
    answers = [answer.name for answer in summarise(ledger).answers]
    assert answers == ["a-weak-teacher-helps", "a-tenth-is-enough"]
    assert all(re.search(rf"{name} .*\b(yes|no|undecided)\b", done.stdout) for name in answers)
    page = re.search(r"^report: (\S+\.html)$", done.stdout, re.MULTILINE)
    assert page is not None
    assert "</html>" in Path(page[1]).read_text()
    commands = re.findall(r"^  \S*raykd (.+)$", done.stdout, re.MULTILINE)
    assert len(commands) == 3
    again = subprocess.run(
        [sys.executable, "-m", "raykd", *shlex.split(commands[0]), *SMALL],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert "10 of them there already" in again.stdout
