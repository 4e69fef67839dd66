"""A sweep's plan is told whole: stages, trials, cost, room, time, and what is against it."""

from dataclasses import replace
from pathlib import Path

import pytest
from raykd.cli.main import main
from raykd.config.load import as_yaml, load_sweep, plain
from raykd.sweep.ledger import SweepPaths, write_index, write_records
from raykd.sweep.plan.plan import plan_sweep

from tests.small_runs import small_data, small_run
from tests.sweeps import COMMAND, driver, ledger_of, write_ledger
from tests.unit.train.test_run import train

SWEEP = """
name: study
base: base.yaml
output_uri: {directory}/sweeps
teachers:
  small: {{run: teacher.yaml, milestones: [0.5, 1]}}
search:
  losses.forward_kl.weight: {{grid: [0, 1, 4 -> 1]}}
  student.init: {{grid: [null, {{remap: {{}}}}]}}
exclude:
  - {{losses.forward_kl.weight: 0, student.init: {{remap: {{}}}}}}
seeds: [1, 2]
nodes: {{laptop: {{cpus: 4, memory_gb: 8}}}}
"""


@pytest.fixture
def sweep_path(tmp_path: Path) -> Path:
    small_data(tmp_path / "data")
    (tmp_path / "teacher.yaml").write_text(as_yaml(small_run(tmp_path, name="teacher")))
    base = small_run(tmp_path, name="student", teachers={"old": {"model": "not-there"}})
    (tmp_path / "base.yaml").write_text(as_yaml(base))
    (tmp_path / "sweep.yaml").write_text(SWEEP.format(directory=tmp_path))
    return tmp_path / "sweep.yaml"


def shown(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


def test_the_plan_is_told_with_its_cost_and_time(
    sweep_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(sweep_path), "scheduler={asha: {first_rung: 0.5}}"]) == 0
    out = capsys.readouterr().out
    assert max(len(line.rstrip()) for line in out.splitlines()) <= 100
    text = " ".join(out.split())
    assert "found nothing yet" in text
    assert "teacher small: to be trained; qualities 0.5, 1; 6 steps, 509 tokens" in text
    # Controls: one from random weights, and one from each quality; then 2 x 2 x 2 arms.
    assert "trials 22: 11 arm(s) x 2 seed(s), 6 of them controls; 2 point(s) excluded" in text
    assert "losses.forward_kl.weight 1 (8), 4 -> 1 (8)" in text
    assert "student.init none (10), remap (12)" in text
    assert "stages: 1 run(s), 509 tokens" in text
    assert "for teachers" in text
    assert "1 x 4 CPU, 0 GPU, 8.0 GB" in text
    assert "about 0.45 GB for a worker" in text
    assert "at once 4 trial(s), limited by CPUs" in text
    assert "compared at 254 tokens" in text
    assert "of it for 23 start(s) of runs and that of Ray" in text
    assert text.endswith("ready")


def test_a_cache_is_paid_once_by_the_trials_that_ask_the_same(
    sweep_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(sweep_path), "--no-measure", "teachers.small.cache={}"]) == 0
    # Masks follow the seed: two seeds and two qualities ask four different things.
    assert "4 cache(s) of teachers' outputs, each paid once" in shown(capsys)


def test_the_seeds_that_may_follow_are_told_with_their_cost(
    sweep_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    question = "{compare: {weight: 1, init: remap}, with: {weight: 4 -> 1, init: remap}}"
    overrides = ["seeds={at_least: 2, at_most: 7}", f"questions={{q: {question}}}"]
    assert main(["check", str(sweep_path), "--no-measure", *overrides]) == 0
    text = shown(capsys)
    assert "trials 22: 11 arm(s) x 2 seed(s), 6 of them controls" in text
    # Averaged over two qualities: four arms, with five seeds each.
    more = "2, then 4 and 7 where questions are undecided: at most 20 more trial(s), 10"
    assert f"seeds {more}" in text
    assert "trials: 22 run(s)" in text


def test_what_is_there_is_told(sweep_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = plan_sweep(load_sweep(sweep_path))
    paths = SweepPaths(sweep=plan.uri)
    write_index(paths, sweep=plain(plan.sweep), run_ids=[r.id for r in plan.records])
    write_records(paths, plan.records)
    train(plan.stages[0].config)
    train(plan.trials[0].config)
    assert main(["check", str(sweep_path), "--no-measure", "seeds=[1]", "max_failures=1"]) == 0
    text = shown(capsys)
    assert "found a ledger of 23 runs: 23 waiting" in text
    assert "changed seeds: [1, 2] -> [1]" in text
    assert "changed max_failures: 2 -> 1" in text
    assert "changed 11 trials dropped" in text
    assert "teacher small: there" in text
    assert "1 found done, and reused" in text
    assert "stages: 0 run(s) trials" in text
    assert "roughly" not in text


def test_every_problem_is_told_and_the_exit_status_is_2(
    sweep_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = ["cluster.cpus_per_worker=5", "metric=loss"]
    assert main(["check", str(sweep_path), *overrides]) == 2
    text = shown(capsys)
    assert "2 problem(s) - teacher small and 22 other(s): 1 worker(s) of {CPU: 5, GPU: 0}" in text
    assert "metric=loss is none that evaluations" in text
    assert "ready" not in text


def test_idle_gpus_are_told_with_the_key(
    sweep_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    override = "nodes={gpu: {cpus: 8, gpus: 4}}"
    assert main(["check", str(sweep_path), "--no-measure", override]) == 0
    assert "warning 4 GPU(s) stay idle: cluster.gpus_per_worker is 0" in shown(capsys)


def test_who_drives_the_sweep_is_told(
    sweep_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = plan_sweep(load_sweep(sweep_path))
    ledger = ledger_of(plan.records, uri=plan.uri, lease=driver(silent_seconds=100))
    write_ledger(replace(ledger, sweep=plain(plan.sweep)))
    assert main(["check", str(sweep_path), "--no-measure"]) == 0
    text = shown(capsys)
    assert "is dead: last heard of 2 min ago" in text
    assert f"The same command goes on: {COMMAND}" in text


def test_values_in_brackets_are_shown_as_they_are(
    sweep_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    override = "search={data.languages: {grid: [[de], [de, en]]}}"
    assert main(["check", str(sweep_path), "--no-measure", "exclude=[]", override]) == 0
    assert "data.languages de (2), de,en (2)" in shown(capsys)


@pytest.mark.parametrize(
    ("file", "flag"), [("sweep.yaml", "--init"), ("base.yaml", "--no-measure")]
)
def test_a_flag_of_the_other_kind_of_file_is_refused(
    sweep_path: Path, capsys: pytest.CaptureFixture[str], file: str, flag: str
) -> None:
    assert main(["check", str(sweep_path.with_name(file)), flag]) == 2
    assert flag in capsys.readouterr().err


def test_a_gpu_that_is_not_here_leaves_the_time_open(
    sweep_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = ["nodes={gpu: {cpus: 8, gpus: 8}}", "cluster.gpus_per_worker=0.5"]
    assert main(["check", str(sweep_path), *overrides]) == 0
    text = shown(capsys)
    assert "at once 8 trial(s), limited by CPUs" in text
    assert "not known: the runs ask for a GPU" in text
