"""The demo runs from nothing to its table, here with small numbers."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMALL = [
    "train.num_steps=6",
    "train.eval_every_steps=3",
    "train.log_every_steps=2",
    "train.global_batch_size=8",
    "train.micro_batch_size=4",
]


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_demo_ends_in_a_table_and_working_commands(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "jobs" / "demo.py"), "--directory", str(tmp_path), *SMALL],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    losses = re.findall(
        r"^ *(teacher|student), \d layers, .* (\d\.\d{4}) +\d+\.\d +\d+ *$",
        done.stdout,
        re.MULTILINE,
    )
    assert [role for role, _ in losses] == ["teacher", "student", "student"]
    assert all(4 < float(loss) < 10 for _, loss in losses)
    exported = re.search(r"a transformers directory: (\S+)", done.stdout)
    assert exported is not None
    assert Path(exported[1], "model.safetensors").exists()
    evaluate = re.search(r"^  \S*raykd (evaluate \S+)$", done.stdout, re.MULTILINE)
    assert evaluate is not None
    again = subprocess.run(
        [sys.executable, "-m", "raykd", *evaluate[1].split()],
        capture_output=True,
        text=True,
        check=True,
    )
    assert losses[2][1] in again.stdout
