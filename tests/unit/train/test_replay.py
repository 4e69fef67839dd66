"""A step that diverges is named with its rows, and is replayed as it was."""

import math
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from raykd.batch import Rows
from raykd.cli.main import main
from raykd.config.schema.run import RunConfig
from raykd.distill.assemble import assemble
from raykd.distill.batches import step_rows
from raykd.distill.distillation import Distillation
from raykd.distill.loop import training_steps
from raykd.distill.setup import read_setup
from raykd.distill.world import World
from raykd.errors import ConfigError, DivergedError, LossSpikeError, NonFiniteLossError
from raykd.models.load import save_model
from raykd.runs.checkpoint import checkpoint_name, committed_steps
from raykd.runs.metrics import read_metrics
from raykd.runs.paths import RunPaths, run_paths
from raykd.train.replay import explained, replay_step
from raykd.train.step_report import StepReport, report_next_step

from tests.prepared import write_prepared
from tests.small_runs import TINY_BERT, small_data, small_run
from tests.unit.train.test_run import stop_after, train

LAST_STEP = 4
DROPOUT = TINY_BERT | {"dropout": 0.2}


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a place with a teacher whose finite weights say NaN about the longest row."""
    directory = tmp_path_factory.mktemp("poisoned")
    write_prepared(
        directory / "data",
        {"train": {"de": [9, 6, 5]}, "validation": {"de": [4]}},
        labels=("a", "b", "c"),
        max_length=40,
    )
    model = assemble(read_setup(poisoned_run(directory, teachers={})), world=World()).student.model
    longest = longest_row(directory).lengths_B[0]
    with torch.no_grad():
        model.get_parameter("bert.embeddings.position_embeddings.weight")[longest - 1 :] = 3e38
    save_model(model, directory / "teacher")
    return directory


def poisoned_run(directory: Path, **changes: Any) -> RunConfig:
    losses: dict[str, Any] = {"cross_entropy": {}}
    if changes.get("teachers") != {}:
        changes["teachers"] = {"big": {"model": str(directory / "teacher")}}
        losses["forward_kl"] = {}
    return small_run(
        directory,
        task="sequence_classification",
        losses=losses,
        train__num_steps=LAST_STEP,
        train__global_batch_size=5,
        train__micro_batch_size=2,
        train__eval_every_steps=100,
        checkpoint={"every_steps": 1, "keep_last": 10},
        **changes,
    )


def longest_row(directory: Path) -> Rows:
    config = small_run(directory, train__global_batch_size=20)
    rows = step_rows(read_setup(config), initial(config).state.data)
    (index,) = (rows.lengths_B == rows.lengths_B.max()).nonzero()
    return rows.take(index)


def initial(config: RunConfig) -> Distillation:
    return assemble(read_setup(config), world=World())


def ids_read(config: RunConfig, step: int, *, size: int = 1) -> list[int]:
    """Return the row ids of the very batches that the workers train on in a step, sorted."""
    ids = []
    for rank in range(size):
        run = replace(initial(config), world=World(rank=rank, size=size))
        steps = run.steps()
        for _ in range(step - 1):
            next(steps)
        ids += [i for b in next(steps).micro_batches if b.num_tokens for i in b.row_ids_B.tolist()]
        steps.restart()
    return sorted(ids)


def until_it_diverges(run: Distillation) -> DivergedError:
    steps = training_steps(
        run.state, run.objective, run.steps(), options=run.loop_options, world=run.world
    )
    with pytest.raises(DivergedError) as raised:
        list(steps)
    return raised.value


def replay(config: RunConfig, step: int) -> tuple[StepReport, list[str]]:
    told: list[str] = []
    return replay_step(run_paths(config).run, step=step, on_message=told.append), told


def ids_named(error: DivergedError) -> list[int]:
    match = re.search(r"with the ids ([\d, ]+)", str(error))
    assert match is not None
    return [int(word) for word in match[1].replace(",", " ").split()]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_error_names_the_rows_that_all_workers_read_in_the_step(
    poisoned: Path, size: int
) -> None:
    config = poisoned_run(poisoned)
    run = initial(config)
    error = explained(until_it_diverges(run), run, RunPaths("s3://bucket/my run"))
    assert type(error) is NonFiniteLossError
    step = run.state.step + 1
    worst = int(longest_row(poisoned).row_ids_B[0])
    assert f"step {step}: the loss is no finite number, because teacher big says" in str(error)
    assert f"about the row with the id {worst}. The weights are still those" in str(error)
    assert "learning_rate" not in str(error)
    assert sorted(ids_named(error)) == ids_read(config, step, size=size)
    assert worst in ids_named(error)
    assert str(error).endswith(f"raykd replay 's3://bucket/my run' --step {step}")


def test_of_many_rows_the_first_are_named_and_all_are_counted(poisoned: Path) -> None:
    run = initial(poisoned_run(poisoned))
    config = replace(run.config, train=replace(run.config.train, global_batch_size=11))
    run = replace(run, setup=replace(run.setup, config=config))
    error = explained(NonFiniteLossError("nan"), run, RunPaths("r"))
    assert len(ids_named(error)) == 8
    assert "trains on 11 rows, with the ids" in str(error)
    assert " and 3 more." in str(error)


def test_replay_shows_the_row_that_is_to_blame_first(
    poisoned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = poisoned_run(poisoned, output_uri=str(tmp_path), checkpoint__every_steps=100)
    with pytest.raises(NonFiniteLossError) as raised:
        train(config)
    step = int(str(raised.value).split(":")[0].removeprefix("step "))
    assert sorted(ids_named(raised.value)) == ids_read(config, step)
    report, told = replay(config, step)
    assert told == [f"from the checkpoint of step {step - 1}"]
    assert math.isnan(report.loss)
    assert isinstance(report.error, NonFiniteLossError)
    assert sorted(row.row_id for row in report.rows) == ids_read(config, step)
    worst = longest_row(poisoned)
    assert report.rows[0].row_id == worst.row_ids_B[0]
    assert report.rows[0].tokens == worst.lengths_B[0]
    assert math.isnan(report.rows[0].loss)
    assert all(math.isfinite(row.loss + row.grad_norm) for row in report.rows[1:])
    losses = [row.loss for row in report.rows[1:]]
    assert losses == sorted(losses, reverse=True)

    command = shlex.split(str(raised.value))[-4:]
    assert main([*command, "--rows", "2"]) == 0
    shown = capsys.readouterr().out
    assert f"step {step}: the loss is no finite number" in shown
    header, *rows = shown[shown.index("\nrow ") + 1 :].splitlines()
    assert header.split() == [
        "row",
        "language",
        "tokens",
        "loss",
        "alone",
        "grad",
        "alone",
        "text",
    ]
    row_id, language, tokens, loss, _, *words = rows[0].split()
    assert (int(row_id), language, int(tokens)) == (worst.row_ids_B[0], "de", worst.lengths_B[0])
    assert loss == "nan"
    assert words[:3] == report.rows[0].text.split()[:3]
    assert words[-1].endswith("…")
    assert rows[2] == "and 3 more; --rows 5 shows all"


def test_a_step_behind_the_one_that_diverges_is_refused(poisoned: Path, tmp_path: Path) -> None:
    config = poisoned_run(poisoned, output_uri=str(tmp_path))
    with pytest.raises(NonFiniteLossError) as raised:
        train(config)
    step = int(str(raised.value).split(":")[0].removeprefix("step "))
    assert step < LAST_STEP
    with pytest.raises(ConfigError, match=rf"--step {LAST_STEP}: .*not get there: step {step}:"):
        replay(config, LAST_STEP)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    small_data(tmp_path / "data")
    return tmp_path


def files(directory: Path) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in directory.rglob("*")}


@pytest.mark.parametrize("has_checkpoints", [True, False])
def test_a_replayed_step_is_the_step_bit_by_bit(directory: Path, has_checkpoints: bool) -> None:
    config = small_run(
        directory,
        student__architecture=DROPOUT,
        checkpoint={"every_steps": 2, "keep_last": 9, "keep_best": False},
    )
    train(config)
    paths = run_paths(config)
    if not has_checkpoints:
        Path(paths.checkpoints).rename(directory / "away")
    records = [r for r in read_metrics(paths.metrics) if "train/loss" in r]
    before = files(directory)
    for step in (1, 2, 4, 5, 6):
        report, told = replay(config, step)
        record = records[step - 1]
        assert record["step"] == report.step == step
        assert report.loss == record["train/loss"]
        assert report.grad_norm == record["train/grad_norm"]
        assert report.terms == {"cross_entropy": record["train/loss/cross_entropy"]}
        assert report.error is None
        start = (step - 1) // 2 * 2
        assert told == (
            [f"from the checkpoint of step {start}"]
            if has_checkpoints and start
            else [f"no checkpoint before step {step} is left: from the start of the run"]
        )
    assert files(directory) == before


def test_a_broken_checkpoint_is_passed_over(directory: Path) -> None:
    config = small_run(
        directory, checkpoint={"every_steps": 2, "keep_last": 9, "keep_best": False}
    )
    train(config)
    paths = run_paths(config)
    (Path(paths.checkpoints) / checkpoint_name(4) / "student/model.safetensors").unlink()
    _, told = replay(config, 5)
    assert told == ["from the checkpoint of step 2"]


def test_rows_and_gradients_add_up_to_the_step(directory: Path) -> None:
    config = small_run(directory, task="sequence_classification")
    train(config)
    report, _ = replay(config, 3)
    # One position of each row is scored, so the step's loss is the mean of its rows'.
    assert sum(row.loss for row in report.rows) / 8 == pytest.approx(report.loss, rel=1e-6)
    norms = [gradient.norm for gradient in report.gradients]
    assert math.hypot(*norms) == pytest.approx(report.grad_norm, rel=1e-6)
    assert norms == sorted(norms, reverse=True)


def test_gradients_that_are_not_finite_come_first(directory: Path) -> None:
    run = initial(small_run(directory, task="sequence_classification"))
    with torch.no_grad():
        run.student.model.get_parameter("bert.embeddings.position_embeddings.weight")[0] = math.nan
    report = report_next_step(run, decode=str)
    assert isinstance(report.error, NonFiniteLossError)
    assert math.isnan(report.grad_norm)
    counts = [gradient.num_not_finite > 0 for gradient in report.gradients]
    assert counts == sorted(counts, reverse=True)
    assert counts[0]
    assert all(parameter.grad is None for parameter in run.objective.parameters())
    assert run.state.step == 0


def test_a_run_whose_mixture_adapts_is_replayed_with_the_mixture_it_had(directory: Path) -> None:
    teacher = initial(small_run(directory, task="sequence_classification", train__seed=3))
    save_model(teacher.student.model, directory / "teacher")
    config = small_run(
        directory,
        task="sequence_classification",
        teachers={"big": {"model": str(directory / "teacher")}},
        losses={"cross_entropy": {}, "forward_kl": {}},
        data__mixing={"adaptive": {"temperature": 0.05}},
        optimizer__learning_rate=0.1,
        train__eval_first=True,
        train__eval_every_steps=2,
        checkpoint={"every_steps": 6, "keep_last": 1, "keep_best": False},
    )
    train(config)
    paths = run_paths(config)
    assert committed_steps(paths.checkpoints) == [6]
    losses = {r["step"]: r["train/loss"] for r in read_metrics(paths.metrics) if "train/loss" in r}
    shares = {r["data/share/de"] for r in read_metrics(paths.metrics) if "data/share/de" in r}
    assert len(shares) > 1
    for step in (1, 3, 6):
        assert replay(config, step)[0].loss == losses[step]


def test_a_run_of_several_workers_is_replayed_in_one_process(directory: Path) -> None:
    config = small_run(directory, student__architecture=DROPOUT)
    train(config)
    run_yaml = Path(run_paths(config).config)
    text = run_yaml.read_text()
    assert "num_workers: 0" in text
    run_yaml.write_text(text.replace("num_workers: 0", "num_workers: 3"))
    _, told = replay(config, 2)
    assert "each worker draws its own dropout" in told[1]
    run_yaml.write_text(run_yaml.read_text().replace("dropout: 0.2", "dropout: 0.0"))
    _, told = replay(config, 2)
    assert told[1].endswith("replay one process: last digits differ")


@pytest.mark.parametrize("step", [0, -1, 7])
def test_a_step_that_is_not_there_is_refused(
    directory: Path, step: int, capsys: pytest.CaptureFixture[str]
) -> None:
    config = small_run(directory)
    train(config, should_stop=stop_after(1))
    assert main(["replay", run_paths(config).run, "--step", str(step)]) == 2
    assert capsys.readouterr() == ("", f"raykd: --step {step}: the run has the steps 1 to 6\n")


def test_what_is_no_run_and_no_number_of_rows_is_refused(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", str(directory), "--step", "1"]) == 2
    assert "is no run: it holds no run.yaml" in capsys.readouterr().err
    assert main(["replay", str(directory), "--step", "1", "--rows", "0"]) == 2
    assert "--rows must be >= 1, got 0" in capsys.readouterr().err


def test_other_data_in_the_place_of_the_runs_are_refused(directory: Path) -> None:
    config = small_run(directory)
    train(config, should_stop=stop_after(3))
    run = run_paths(config).run
    (directory / "data").rename(directory / "old")
    write_prepared(
        directory / "data", {"train": {"de": [9], "en": [9]}, "validation": {"de": [4]}}
    )
    with pytest.raises(ConfigError, match="holds other data than when the run was planned"):
        replay_step(run, step=3, on_message=lambda _: None)


def spiking_run(directory: Path, **changes: Any) -> RunConfig:
    """Return a run whose loss is five times as high from its 13th step of 24 on."""
    return small_run(
        directory,
        losses={"cross_entropy": {"weight": "1 @ 0.5 -> 5 @ 0.5"}},
        train__num_steps=24,
        train__loss_spike_factor=3,
        train__eval_every_steps=100,
        optimizer__learning_rate=1e-6,
        **changes,
    )


def test_a_loss_spike_stops_the_run_and_is_replayed(directory: Path) -> None:
    config = spiking_run(directory)
    with pytest.raises(LossSpikeError, match="step 13: the loss is"):
        train(config)
    report, told = replay(config, 13)
    assert isinstance(report.error, LossSpikeError)
    assert told == ["from the checkpoint of step 12"]


@pytest.mark.parametrize("steps", [3, 11, 12])
def test_a_resumed_run_calls_the_same_step_a_spike(directory: Path, steps: int) -> None:
    smooth = spiking_run(directory, output_uri=str(directory / "smooth"))
    bumpy = spiking_run(directory)
    with pytest.raises(LossSpikeError) as first:
        train(smooth)
    assert not train(bumpy, should_stop=stop_after(steps)).is_done
    with pytest.raises(LossSpikeError) as second:
        train(bumpy)
    said = [str(error.value).split(" The step trains on")[0] for error in (first, second)]
    assert said[0] == said[1]
