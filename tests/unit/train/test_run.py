"""A run stopped anywhere and started again is the run that never stopped, bit for bit."""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from raykd.cli.main import main
from raykd.config.schema.run import RunConfig
from raykd.errors import ConfigError, DataError, NonFiniteLossError
from raykd.models.build import AUTO_CLASSES
from raykd.models.load import load_model
from raykd.planning.run_plan import plan_run
from raykd.runs.checkpoint import checkpoint_name, committed_steps
from raykd.runs.metrics import MACHINE_METRICS, Record, read_metrics
from raykd.runs.paths import RunPaths, run_paths
from raykd.runs.result import RunResult, read_result
from raykd.storage import uris
from raykd.storage.published.directory import read_published
from raykd.storage.published.ownership import remove
from raykd.train.restored import evaluate_run, export_run
from raykd.train.run import Listener, train_run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.prepared import write_prepared
from tests.small_runs import TINY_BERT, TINY_LLAMA, small_data, small_run


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    small_data(tmp_path / "data")
    return tmp_path


def never() -> bool:
    return False


def train(
    config: RunConfig, *, should_stop: Callable[[], bool] = never, fresh: bool = False
) -> RunResult:
    listener = Listener(
        on_record=lambda _: None, on_message=lambda _: None, should_stop=should_stop
    )
    return train_run(config, fresh=fresh, address="local", listener=listener)


def stop_after(steps: int) -> Callable[[], bool]:
    asked = iter(range(1, 1_000))
    return lambda: next(asked) >= steps


def weights(config: RunConfig) -> dict[str, torch.Tensor]:
    model = load_model(run_paths(config).model, config.task, labels=None)
    return dict(model.state_dict())


def timeless(records: list[Record]) -> list[Record]:
    return [{k: v for k, v in r.items() if k not in MACHINE_METRICS} for r in records]


def assert_equal_runs(first: RunConfig, second: RunConfig) -> None:
    mine, theirs = weights(first), weights(second)
    assert mine.keys() == theirs.keys()
    for name, tensor in mine.items():
        assert torch.equal(tensor, theirs[name]), name
    records = [read_metrics(run_paths(config).metrics) for config in (first, second)]
    assert timeless(records[0]) == timeless(records[1])


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_stopped_and_continued_equals_uninterrupted(
    directory: Path, steps: int, dropout: float
) -> None:
    student = {"architecture": TINY_BERT | {"dropout": dropout}}
    smooth = small_run(directory, student=student, output_uri=str(directory / "smooth"))
    bumpy = small_run(directory, student=student)
    assert train(smooth).is_done
    stopped = train(bumpy, should_stop=stop_after(steps))
    assert (stopped.is_done, stopped.step) == (False, steps)
    assert train(bumpy).is_done
    assert_equal_runs(smooth, bumpy)


def test_a_run_in_an_object_store_continues_too(directory: Path, s3_uri: str) -> None:
    smooth = small_run(directory)
    bumpy = small_run(directory, output_uri=f"{s3_uri}/runs")
    train(smooth)
    assert not train(bumpy, should_stop=stop_after(3)).is_done
    assert train(bumpy).is_done
    assert_equal_runs(smooth, bumpy)


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def corrupt(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("damaged", "damage"),
    [
        ("student/model.safetensors", truncate),
        ("optimizer/adamw-00001-of-00001.safetensors", corrupt),
        ("state.json", Path.unlink),
        ("manifest.json", corrupt),
        ("COMMITTED", Path.unlink),
    ],
)
def test_a_damaged_newest_checkpoint_is_skipped_and_named(
    directory: Path,
    caplog: pytest.LogCaptureFixture,
    damaged: str,
    damage: Callable[[Path], Any],
) -> None:
    smooth = small_run(directory, output_uri=str(directory / "smooth"))
    bumpy = small_run(directory)
    train(smooth)
    train(bumpy, should_stop=stop_after(5))
    checkpoints = Path(run_paths(bumpy).checkpoints)
    damage(checkpoints / checkpoint_name(5) / damaged)
    with caplog.at_level(logging.WARNING):
        assert train(bumpy).is_done
    assert "skipping checkpoint of step 5" in caplog.text
    assert damaged in caplog.text
    assert_equal_runs(smooth, bumpy)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_missing_is_told_before_anything_is_written(directory: Path) -> None:
    config = small_run(directory, cluster={"num_workers": 0, "gpus_per_worker": 1})
    with pytest.raises(ConfigError, match=r"gpus_per_worker is 1.*PyTorch finds no GPU"):
        train(config)
    assert not Path(run_paths(config).run).exists()


def test_a_done_run_is_left_alone_and_fresh_starts_over(directory: Path) -> None:
    config = small_run(directory)
    first = train(config)
    paths = run_paths(config)
    before = read_published(paths.model, kind="model").fingerprint
    assert train(config, should_stop=stop_after(1)) == first
    again = train(config, fresh=True, should_stop=stop_after(1))
    assert (again.is_done, again.step) == (False, 1)
    assert committed_steps(paths.checkpoints) == [1]
    assert train(config) == first
    assert read_published(paths.model, kind="model").fingerprint == before


def test_a_run_killed_before_its_last_words_finds_them_again(directory: Path) -> None:
    config = small_run(directory)
    result = train(config)
    paths = run_paths(config)
    uris.delete(paths.result)
    remove(paths.model, kind="model")
    assert train(config) == result
    assert uris.exists(paths.model)


def test_other_data_at_the_same_place_are_another_run(directory: Path) -> None:
    config = small_run(directory)
    assert train(config, should_stop=stop_after(3)).step == 3
    before = run_paths(config)
    shutil.rmtree(directory / "data")
    small_data(directory / "data", seed=1)
    (change,) = plan_run(config).others
    assert change.startswith(
        f"data.uri: {directory}/data holds other data than for the run {before.run}"
    )
    assert train(config).step == 6
    assert read_result(before) is None
    assert plan_run(config).others == ()
    shutil.rmtree(directory / "data")
    small_data(directory / "data")
    assert "a checkpoint of step 3" in plan_run(config).progress


def test_newest_best_and_milestones_are_kept(directory: Path) -> None:
    config = small_run(
        directory,
        train__num_steps=12,
        train__eval_every_steps=4,
        checkpoint={"every_steps": 1, "keep_last": 2, "milestones": [0.25]},
    )
    train(config)
    paths = run_paths(config)
    evaluations = [r for r in read_metrics(paths.metrics) if "eval/loss" in r]
    best = int(min(evaluations, key=lambda record: record["eval/loss"])["step"])
    kept = set(committed_steps(paths.checkpoints))
    assert {3, best, 12} <= kept
    # Beside the last one the newest before it: 11, unless 10 was still being written then.
    assert len(kept - {3, best, 12}) <= 1


def test_the_exported_model_is_a_transformers_directory(directory: Path) -> None:
    config = small_run(directory)
    result = train(config)
    assert result.model_uri is not None
    model = AUTO_CLASSES["masked_lm"].from_pretrained(result.model_uri)
    for name, tensor in weights(config).items():
        assert torch.equal(model.state_dict()[name], tensor)
    card = Path(result.model_uri, "README.md").read_text()
    assert f"| eval/loss | {result.metrics['eval/loss']:.4f} |" in card
    assert "no teacher: trained on the true labels alone" in card


def test_a_finished_run_evaluates_and_exports_as_it_ended(directory: Path) -> None:
    config = small_run(directory, checkpoint={"milestones": [0.5]})
    result = train(config)
    run = run_paths(config).run
    metrics = evaluate_run(run, data_uri=None, split=None)
    assert metrics == pytest.approx({k: result.metrics[k] for k in metrics})
    assert export_run(run, str(directory / "exported")) == 6
    exported = load_model(str(directory / "exported"), "masked_lm", labels=None)
    for name, tensor in weights(config).items():
        assert torch.equal(exported.state_dict()[name], tensor)
    checkpoint = uris.join(RunPaths(run).checkpoints, checkpoint_name(3))
    assert export_run(checkpoint, str(directory / "earlier")) == 3
    with pytest.raises(ConfigError, match=r"is no run: it holds no run\.yaml"):
        evaluate_run(str(directory), data_uri=None, split=None)


@pytest.mark.parametrize(
    ("task", "architecture"), [("masked_lm", TINY_BERT), ("causal_lm", TINY_LLAMA)]
)
def test_a_copied_student_has_no_divergence_from_its_teacher(
    directory: Path, task: str, architecture: dict[str, Any]
) -> None:
    teacher = small_run(
        directory, name="teacher", task=task, student={"architecture": architecture}
    )
    train(teacher)
    student = small_run(
        directory,
        task=task,
        teachers={"small": {"model": run_paths(teacher).run}},
        student={"architecture": {"num_layers": 2}, "init": {"copy_layers": {}}},
        losses={"cross_entropy": {"weight": "0"}, "forward_kl": {}},
        train__num_steps=1,
        optimizer__learning_rate=1e-12,
    )
    metrics = train(student).metrics
    # All layers of the teacher are copied: the student agrees with it wholly.
    assert metrics["eval/agreement"] == 1.0
    assert metrics["eval/loss"] == pytest.approx(metrics["eval/teacher/loss"], abs=1e-6)
    records = read_metrics(run_paths(student).metrics)
    assert records[0]["train/loss/forward_kl"] == pytest.approx(0.0, abs=1e-6)


def test_other_data_is_scored_only_where_its_ids_mean_the_same(directory: Path) -> None:
    config = small_run(directory, task="sequence_classification")
    train(config)
    run = run_paths(config).run
    same = write_prepared(
        directory / "same",
        {"train": {"de": [4]}, "validation": {"de": [9]}},
        labels=("a", "b", "c"),
        seed=5,
    )
    assert "eval/accuracy" in evaluate_run(run, data_uri=same.uri, split=None)
    other = write_prepared(
        directory / "other",
        {"train": {"de": [4]}, "validation": {"de": [9]}},
        labels=("c", "b", "a"),
    )
    with pytest.raises(DataError, match=r"other: has the classes \['c', 'b', 'a'\]"):
        evaluate_run(run, data_uri=other.uri, split=None)
    manifest = Path(other.uri, "manifest.json")
    content = json.loads(manifest.read_text())
    content["content"]["tokenizer"]["fingerprint"] = "another"
    manifest.write_text(json.dumps(content))
    digest = hashlib.sha256(manifest.read_bytes()).hexdigest()
    Path(other.uri, "COMMITTED").write_text(digest)
    with pytest.raises(DataError, match=r"other: was prepared with another tokenizer than"):
        evaluate_run(run, data_uri=other.uri, split=None)


def test_data_that_are_not_those_of_the_run_are_told_or_refused(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = small_run(directory, task="sequence_classification")
    train(config)
    run, data = run_paths(config).run, directory / "data"
    assert main(["evaluate", run]) == 0
    assert "changed" not in capsys.readouterr().err
    shutil.rmtree(data)
    small_data(data, seed=1)
    assert main(["evaluate", run, "--json"]) == 0
    shown = capsys.readouterr()
    assert f"changed: data.uri: {data} holds other data than when" in shown.err
    assert "eval/accuracy" in json.loads(shown.out)
    shutil.rmtree(data)
    splits = {"train": {"de": [9]}, "validation": {"de": [4]}}
    write_prepared(data, splits, labels=("c", "b", "a"))
    with pytest.raises(DataError, match="has the classes"):
        evaluate_run(run, data_uri=None, split=None)


def test_an_export_is_of_the_checkpoint_whatever_became_of_the_data(directory: Path) -> None:
    config = small_run(directory, task="sequence_classification")
    train(config)
    paths = run_paths(config)
    shutil.rmtree(directory / "data")
    export_run(paths.run, str(directory / "exported"))
    exported = read_published(str(directory / "exported"), kind="model")
    trained = read_published(paths.model, kind="model")
    for name in ("model.safetensors", "tokenizer.json"):
        assert exported.files[name] == trained.files[name]
    assert exported.content == trained.content == {"run": paths.name, "step": 6}


def test_a_nan_leaves_the_last_checkpoint(directory: Path) -> None:
    config = small_run(directory, optimizer__learning_rate=1e30, optimizer__warmup_fraction=0.0)
    with pytest.raises(NonFiniteLossError, match=r"step \d: the loss is"):
        train(config)
    assert not uris.exists(run_paths(config).lease)


def test_tensorboard_gets_every_metric(directory: Path) -> None:
    config = small_run(directory, tracking={"tensorboard": True})
    train(config)
    events = EventAccumulator(run_paths(config).tensorboard)
    events.Reload()
    assert [event.step for event in events.Scalars("train/loss")] == list(range(1, 7))
    assert [event.step for event in events.Scalars("eval/loss")] == [3, 6]


def test_a_split_of_which_nothing_is_scored_is_refused_before_the_first_step(
    tmp_path: Path,
) -> None:
    write_prepared(tmp_path / "data", {"train": {"de": [40]}, "validation": {"de": [1]}})
    config = small_run(tmp_path, data__masking={"fraction": 0.01})
    with pytest.raises(DataError, match=r"data\.eval_split=validation: no position of it is"):
        train(config)
    assert read_metrics(run_paths(config).metrics) == []
