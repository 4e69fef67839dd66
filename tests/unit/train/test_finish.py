"""How a run ends: which weights it keeps, and that it is scored on its test split just once."""

from pathlib import Path
from typing import Any

import pytest
import torch
from raykd.config.schema.run import RunConfig
from raykd.distill.world import World
from raykd.errors import DataError
from raykd.models.fingerprint import BEST as BEST_MODEL
from raykd.models.fingerprint import fingerprints, origin_of
from raykd.models.load import load_model
from raykd.planning.run_plan import plan_run
from raykd.runs.checkpoint import checkpoint_name, model_checkpoint
from raykd.runs.metrics import BEST_STEP, Record, evaluations, read_metrics
from raykd.runs.paths import RunPaths, run_paths
from raykd.runs.result import RunResult, read_result
from raykd.runs.stop import StopReason
from raykd.storage import uris
from raykd.storage.published.ownership import remove
from raykd.train.restored import evaluate_run, export_run
from raykd.train.worker import Context, train_worker

from tests.prepared import write_prepared
from tests.processes import in_processes
from tests.small_runs import small_run
from tests.unit.train.test_run import stop_after, train

BEST = 3
"""The step of the lowest evaluation loss: what a high learning rate does then undoes that."""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    splits = {
        "train": {"de": [9, 6, 5], "en": [10] * 7},
        "validation": {"de": [6, 2], "en": [9, 4]},
        "test": {"de": [5], "en": [7, 4]},
    }
    write_prepared(tmp_path / "data", splits, labels=("a", "b", "c"))
    return tmp_path


def run_with_split(directory: Path, **changes: Any) -> RunConfig:
    optimizer = {"learning_rate": 5e-2, "schedule": "constant"}
    return small_run(directory, **{"data__test_split": "test", "optimizer": optimizer, **changes})


def records_of_test(paths: RunPaths) -> list[Record]:
    return [record for record in read_metrics(paths.metrics) if "test/loss" in record]


def named(metrics: Record, prefix: str) -> Record:
    names = (name for name in metrics if name.startswith(prefix))
    return {name.removeprefix(prefix): metrics[name] for name in names}


@pytest.mark.parametrize(("keep", "step"), [("last", 6), ("best", BEST)])
def test_the_weights_that_are_kept_are_exported_and_tested(
    directory: Path, keep: str, step: int
) -> None:
    config = run_with_split(directory, train__keep=keep)
    result = train(config)
    paths = run_paths(config)
    kept = uris.join(paths.checkpoints, checkpoint_name(step))
    weights, expected = (
        load_model(uri, config.task, labels=None).state_dict() for uri in (paths.model, kept)
    )
    assert [name for name in expected if not torch.equal(weights[name], expected[name])] == []
    # Which step is the best is not known before the run: what it exports is known without it.
    origin = origin_of(paths.name, BEST_MODEL if keep == "best" else step)
    assert fingerprints(paths.model).made_by == origin
    assert model_checkpoint(paths, keep=config.train.keep) == kept
    evaluated, tested = (
        named(evaluate_run(kept, data_uri=None, split=split), "eval/") for split in (None, "test")
    )
    assert named(result.metrics, "eval/") == pytest.approx(evaluated)
    assert named(result.metrics, "test/") == pytest.approx(tested)
    assert result.metrics.get(BEST_STEP) == (step if keep == "best" else None)
    assert evaluate_run(paths.run, data_uri=None, split=None) == evaluate_run(
        kept, data_uri=None, split=None
    )
    assert export_run(paths.run, str(directory / "exported")) == step
    for place in (paths.model, str(directory / "exported")):
        card = Path(place, "README.md").read_text()
        assert f"| eval/loss | {result.metrics['eval/loss']:.4f} |" in card
        assert f"| test/loss | {result.metrics['test/loss']:.4f} |" in card


def test_the_last_evaluation_of_a_run_holds_its_test(directory: Path) -> None:
    config = run_with_split(directory, train__keep="best")
    result = train(config)
    first, last = evaluations(run_paths(config).metrics)
    assert (first["step"], last["step"]) == (BEST, 6)
    assert first["eval/loss"] == result.metrics["eval/loss"] < last["eval/loss"]
    assert named(first, "test/") == {}
    assert named(last, "test/") == named(result.metrics, "test/")
    assert last[BEST_STEP] == BEST


def test_a_run_that_is_never_evaluated_is_tested(directory: Path) -> None:
    config = run_with_split(directory, data__eval_split=None)
    result = train(config)
    assert named(result.metrics, "eval/") == {}
    assert evaluations(run_paths(config).metrics) == [result.metrics]


def test_a_run_that_stops_before_its_end_is_not_tested(directory: Path) -> None:
    config = run_with_split(directory)
    assert named(train(config, should_stop=stop_after(4)).metrics, "test/") == {}
    assert records_of_test(run_paths(config)) == []
    assert train(config).is_done
    assert len(records_of_test(run_paths(config))) == 1


def worked(world: World, config: RunConfig, *, dies_at: str | None = None) -> RunResult:
    """Train as one of the workers, which dies where it says that it does something."""

    def note(what: str) -> None:
        if what == dies_at:
            raise InterruptedError(what)

    context = Context(
        world=world, report=lambda _: None, stop_reason=lambda: StopReason.NONE, note=note
    )
    return train_worker(config, run_paths(config), context)


TESTING = "the evaluation on test"


@pytest.mark.parametrize("keep", ["last", "best"])
def test_a_run_killed_between_its_last_step_and_its_end_is_tested_once(
    directory: Path, keep: str
) -> None:
    smooth = run_with_split(directory, train__keep=keep, output_uri=str(directory / "smooth"))
    bumpy = run_with_split(directory, train__keep=keep)
    expected = worked(World(), smooth)
    paths = run_paths(bumpy)
    with pytest.raises(InterruptedError):
        worked(World(), bumpy, dies_at=TESTING)
    assert records_of_test(paths) == []
    found = worked(World(), bumpy)
    assert found.metrics == expected.metrics
    # Killed once more, after it was tested: then it dies if it is tested again.
    uris.delete(paths.result)
    remove(paths.model, kind="model")
    assert worked(World(), bumpy, dies_at=TESTING) == found
    assert records_of_test(paths) == records_of_test(run_paths(smooth))
    assert len(records_of_test(paths)) == 1
    assert fingerprints(paths.model) == fingerprints(run_paths(smooth).model)


def train_bumpily(world: World, smooth: RunConfig, bumpy: RunConfig) -> None:
    """Train a run at once, and one whose workers die together before it is tested."""
    smoothly = worked(world, smooth)
    with pytest.raises(InterruptedError):
        worked(world, bumpy, dies_at=TESTING)
    assert worked(world, bumpy).metrics == smoothly.metrics


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("is_sharded", [False, True])
@pytest.mark.parametrize("size", [2, 3])
def test_several_workers_keep_and_test_what_one_does(
    directory: Path, size: int, is_sharded: bool
) -> None:
    alone = run_with_split(directory, train__keep="best", output_uri=str(directory / "alone"))
    expected = worked(World(), alone).metrics
    cluster = {"num_workers": size, "shard_student": is_sharded}
    smooth, bumpy = (
        run_with_split(
            directory, train__keep="best", output_uri=str(directory / name), cluster=cluster
        )
        for name in ("smooth", "bumpy")
    )
    in_processes(train_bumpily, smooth, bumpy, size=size, store=directory / "store")
    for run in (smooth, bumpy):
        result = read_result(run_paths(run))
        assert result is not None
        assert result.metrics[BEST_STEP] == BEST
        assert result.metrics == pytest.approx(expected, rel=1e-4)
        assert len(records_of_test(run_paths(run))) == 1
        best = uris.join(run_paths(run).checkpoints, checkpoint_name(BEST))
        weights, kept = (
            load_model(uri, run.task, labels=None).state_dict()
            for uri in (run_paths(run).model, best)
        )
        assert [name for name in kept if not torch.equal(weights[name], kept[name])] == []


def test_a_test_split_that_is_not_there_is_told_before_anything_starts(directory: Path) -> None:
    config = run_with_split(directory, data__test_split="held_out")
    (problem,) = plan_run(config).problems
    assert "has no split 'held_out'; it has ['test', 'train', 'validation']" in problem


def test_a_test_split_of_which_nothing_is_scored_is_refused_before_the_first_step(
    tmp_path: Path,
) -> None:
    splits = {"train": {"de": [40]}, "validation": {"de": [60]}, "test": {"de": [1]}}
    write_prepared(tmp_path / "data", splits)
    config = run_with_split(tmp_path, data__masking={"fraction": 0.01})
    with pytest.raises(DataError, match=r"data\.test_split=test: no position of it is scored"):
        train(config)
    assert read_metrics(run_paths(config).metrics) == []
