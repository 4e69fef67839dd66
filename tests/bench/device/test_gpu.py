"""The program for one device finds its paths right on a CPU, and says what it cannot run."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.bench import gpu
from tests.bench.device.setting import RESULT, WRONG, check_row, reason_of
from tests.bench.gpu import is_wrong, run_here


@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_paths_of_a_device_are_right_on_a_cpu(tmp_path: Path) -> None:
    parts = ["bfloat16", "vocabulary", "copies", "waits", "cached", "resumed", "recomputed"]
    parts += ["overlapped", "sharded", "collectives", "masked", "roofline"]
    path = tmp_path / "outcomes"
    # Not those that compile whole models, which would take most of the time.
    run_here(argparse.Namespace(device="cpu", small=True, only=parts, child=path))
    outcomes = {each["part"]: each for each in map(json.loads, path.read_text().splitlines())}
    assert list(outcomes) == parts
    assert {outcome["error"] for outcome in outcomes.values()} == {None}
    checks = [row for part in parts[:-2] for row in outcomes[part]["rows"]]
    assert {row[RESULT] for row in checks} == {"right", "needs a GPU"}
    speeds = [row["tokens/s"] for row in outcomes["masked"]["rows"] if "tokens/s" in row]
    assert len(speeds) >= 2
    losses = [row["loss"] for row in outcomes["roofline"]["rows"] if "loss" in row]
    assert len(losses) >= 2
    assert losses == pytest.approx([losses[0]] * len(losses), rel=1e-2)


@pytest.mark.long
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_fails_the_checks_in_a_line_each(tmp_path: Path) -> None:
    parts = ["copies", "collectives"]
    path = tmp_path / "gpu.json"
    finished = subprocess.run(
        [sys.executable, gpu.__file__, "--small", "--json", str(path), "--only", *parts],
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 1, finished.stderr
    outcomes = json.loads(path.read_text())
    assert [outcome["part"] for outcome in outcomes] == parts
    told = [line.split(":")[0] for line in finished.stdout.splitlines() if "CUDA" in line]
    assert told == parts


def test_what_is_further_apart_than_it_may_be_or_no_number_is_wrong() -> None:
    rows = [check_row("sums", difference, 1e-3) for difference in (1e-3, 2e-3, float("nan"))]
    assert [row[RESULT] for row in rows] == ["right", WRONG, WRONG]
    outcomes = [{"error": None, "rows": [row]} for row in rows]
    assert list(map(is_wrong, outcomes)) == [False, True, True]
    assert is_wrong({"error": "it died", "rows": []})


def test_an_error_is_told_in_one_line_with_its_places() -> None:
    with pytest.raises(ValueError, match="far") as caught:
        raise ValueError("far\n  away")  # noqa: EM101
    told = reason_of(caught.value)
    assert told.startswith("ValueError: far away (test_gpu.py:")
    assert "\n" not in told
