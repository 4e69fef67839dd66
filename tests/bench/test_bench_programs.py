"""The benchmark programs run to their end; what they measure is not asserted."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from raykd.storage import uris
from raykd.sweep.ledger import SweepPaths
from raykd.sweep.plan.plan import sweep_uri
from raykd.sweep.record import State

from tests.bench.simulated.thousand import Costs, simulated, thousand


def run_program(name: str) -> str:
    """Run a program in its small mode; return what it prints."""
    program = Path(__file__).parent / name
    finished = subprocess.run(
        [sys.executable, str(program), "--small"], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_bare_loop_and_raykd_end_with_the_same_loss() -> None:
    losses = run_program("overhead.py").splitlines()[-1]
    bare, raykd = re.findall(r"\d\.\d{9}", losses)
    assert bare == raykd


@pytest.mark.long
@pytest.mark.timeout(300)
def test_streaming_runs_and_finds_the_memory_bounded() -> None:
    printed = run_program("streaming.py")
    assert "x datasets iterable" in printed
    assert "memory of raykd rows" in printed


@pytest.mark.long
@pytest.mark.timeout(300)
def test_all_ways_over_a_vocabulary_end_with_the_same_loss() -> None:
    lines = run_program("vocabulary.py").splitlines()
    losses = [line.split("│")[5] for line in lines if line.count("│") == 6]
    assert len(losses) == 3
    assert len(set(losses)) == 1


@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_more_is_frozen_the_less_is_trained() -> None:
    printed = run_program("frozen.py")
    rows = [line.split("│") for line in printed.splitlines() if line.count("│") == 7]
    trained = [int(row[2].replace(",", "")) for row in rows]
    assert len(trained) == 4
    assert trained == sorted(set(trained), reverse=True)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_power_is_told_of_arms_of_noise_and_of_questions() -> None:
    lines = run_program("simulated/power.py").splitlines()
    assert [sum(line.count("│") == bars for line in lines) for bars in (8, 5, 7)] == [1, 5, 2]


@pytest.mark.long
@pytest.mark.timeout(300)
def test_caches_weigh_what_was_planned() -> None:
    printed = run_program("cache.py")
    rows = [line.split("│") for line in printed.splitlines() if line.count("│") > 4]
    sizes = [(float(row[2]), float(row[3])) for row in rows if row[2].strip()]
    assert len(sizes) == 6
    assert all(planned == pytest.approx(found, rel=0.1) for found, planned in sizes)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_fullest_worker_and_the_requests_of_trials_are_counted() -> None:
    figures = json.loads(run_program("scaling.py").splitlines()[-1])
    # Two workers share four lanes evenly; of three, one has two lanes.
    assert [found["fullest_ratio"] for _, found in figures["orders"]] == [1.0, 1.5]
    # An evaluation is one object of the ledger, at any number of trials.
    evaluations = [ledger["evaluation"] for ledger in figures["ledgers"].values()]
    assert evaluations == [{"reads": 0, "writes": 1}] * 2
    # Each further worker of a checkpoint brings a file, a note before and one after it, and both
    # notes are removed.
    writes = [found["requests"]["writes"] for found in figures["checkpoints"].values()]
    assert writes[1] - writes[0] == 5


@pytest.mark.long
@pytest.mark.timeout(600)
def test_students_of_a_shared_process_end_with_the_losses_of_students_apart() -> None:
    printed = run_program("shared_process.py")
    assert sum(line.count("│") == 7 for line in printed.splitlines()) == 1
    assert "losses equal" in printed


@pytest.mark.long
@pytest.mark.ray
@pytest.mark.timeout(600)
def test_a_sweep_and_its_runs_one_by_one_end_with_the_same_losses() -> None:
    printed = run_program("sweep.py")
    assert "2 trials of 1 teacher; losses equal" in printed
    assert "raykd, a run of 1 step" in printed


@pytest.mark.long
@pytest.mark.ray
@pytest.mark.timeout(600)
def test_a_killed_driver_stops_the_same_trials_in_the_small_grid_too() -> None:
    printed = run_program("halving.py")
    assert "the same trials stop, at the same rungs and losses" in printed
    assert " NO " not in printed


@pytest.mark.long
@pytest.mark.ray
@pytest.mark.timeout(600)
def test_nodes_come_and_go_with_what_waits() -> None:
    *told, last = run_program("autoscaling.py").splitlines()
    rows = [line for line in told if not line.startswith("waiting ")]
    assert sum("a node is killed after this" in row for row in rows) == 1
    assert rows[1].split()[1:] == ["0", "0", "0"]
    assert rows[-1].split()[1:] == ["0", "0", "0"]
    assert len(rows) < len(told)
    assert last.startswith("5 runs, ")


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_study_of_many_arms_answers_its_questions() -> None:
    printed = run_program("simulated/questions.py")
    assert "250 simulated trials in 50 arms" in printed
    assert " yes" in printed.splitlines()[-1]


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_driver_that_starts_anew_halfway_brings_1_000_trials_to_their_verdicts(
    tmp_path: Path,
) -> None:
    sweep = thousand(tmp_path)
    summary = simulated(sweep, Costs())
    assert summary.is_over
    assert summary.num_trials == 1000
    assert summary.stage_states == {State.DONE: 2}
    assert set(summary.states) == {State.DONE, State.STOPPED}
    controls = [arm for arm in summary.arms if arm.is_control]
    assert len(summary.arms) == 200
    # Controls never stop early.
    assert [arm.num_done for arm in controls] == [5] * 8
    verdicts = [arm.comparison for arm in summary.arms if not arm.is_control]
    assert None not in verdicts
    report = SweepPaths(sweep=sweep_uri(sweep)).report
    assert {"report.html", "trials.parquet", "summary.json"} <= set(uris.list_names(report))
