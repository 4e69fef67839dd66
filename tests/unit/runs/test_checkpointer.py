"""Checkpoints do not hold training up, and none is lost, mixed up or taken for another's."""

import hashlib
import json
import logging
import math
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from raykd.data.manifest import TOKENIZER_DIRECTORY
from raykd.distill.assemble import assemble
from raykd.distill.distillation import Distillation
from raykd.distill.loop import training_steps
from raykd.distill.setup import read_setup
from raykd.distill.world import World
from raykd.errors import CheckpointError, StorageError
from raykd.models.fingerprint import RUN, origin_of
from raykd.runs.checkpoint import KIND, checkpoint_name, committed_steps, optimizer_file
from raykd.runs.checkpointer import Checkpointer
from raykd.runs.paths import RunPaths, run_paths
from raykd.storage import uris
from raykd.storage.published.directory import COMMITTED, MANIFEST, read_published

from tests.small_runs import small_data, small_run
from tests.unit.train.test_run import assert_equal_runs, stop_after, train


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    small_data(tmp_path / "data")
    return tmp_path


def kept(directory: Path, **changes: Any) -> tuple[Distillation, Checkpointer, RunPaths]:
    config = small_run(directory, **changes)
    run = assemble(read_setup(config), world=World())
    paths = run_paths(config)
    companions = directory / "data" / TOKENIZER_DIRECTORY
    return run, Checkpointer(config, paths, run, companions=companions), paths


def test_training_goes_on_while_a_checkpoint_is_on_its_way(directory: Path) -> None:
    run, checkpointer, paths = kept(directory, checkpoint={"every_steps": 2})
    the_store_is_back = threading.Event()

    def before() -> None:
        the_store_is_back.wait()

    for finished in training_steps(
        run.state, run.objective, run.steps(), options=run.loop_options, world=run.world
    ):
        if checkpointer.is_due(finished.step, is_busy=checkpointer.is_busy):
            checkpointer.write(before=before)
        if finished.step == 4:
            assert checkpointer.is_busy
            assert committed_steps(paths.checkpoints) == []
            the_store_is_back.set()
            checkpointer.wait()
            assert committed_steps(paths.checkpoints) == [2]
    checkpointer.wait()
    # That of step 4 is taken as soon as it can be.
    assert committed_steps(paths.checkpoints) == [5, 6]
    assert run.state.step == 6


def test_milestones_are_of_their_very_step(directory: Path) -> None:
    _, checkpointer, _ = kept(directory, checkpoint={"every_steps": 2, "milestones": [0.5]})
    assert [step for step in range(1, 7) if checkpointer.is_due(step, is_busy=True)] == [3, 6]


def test_a_postponed_checkpoint_is_of_the_newest_step(directory: Path) -> None:
    _, checkpointer, _ = kept(directory, checkpoint={"every_steps": 2})
    due = [checkpointer.is_due(step, is_busy=step in (2, 3, 4)) for step in range(1, 6)]
    assert due == [False, False, False, False, True]


def test_the_best_checkpoint_stays_until_that_of_a_better_evaluation_is_there(
    directory: Path,
) -> None:
    run, checkpointer, paths = kept(directory, checkpoint={"keep_last": 1, "keep_best": True})
    steps = training_steps(
        run.state, run.objective, run.steps(), options=run.loop_options, world=run.world
    )
    is_noted = threading.Event()

    def before() -> None:
        is_noted.wait()

    next(steps)
    checkpointer.note_evaluation(1, loss=math.nan)
    assert checkpointer.load_best() == 1
    checkpointer.note_evaluation(1, loss=2.0)
    checkpointer.write(before=lambda: None)
    next(steps)
    checkpointer.write(before=before)
    next(steps)
    checkpointer.note_evaluation(3, loss=1.0)
    is_noted.set()
    checkpointer.wait()
    assert committed_steps(paths.checkpoints) == [1, 2]
    checkpointer.write(before=lambda: None)
    checkpointer.wait()
    assert committed_steps(paths.checkpoints) == [3]


def test_a_store_that_refuses_stops_the_run(directory: Path) -> None:
    config = small_run(directory)
    paths = run_paths(config)
    uris.write_bytes(paths.config, b"name: small")
    uris.write_bytes(paths.checkpoints, b"a file where the directory belongs")
    with pytest.raises(StorageError, match="checkpoints"):
        train(config)
    assert uris.read_bytes(paths.checkpoints) == b"a file where the directory belongs"
    assert not uris.exists(paths.result)


def test_a_checkpoint_of_another_run_is_skipped_and_named(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    smooth = small_run(directory, output_uri=str(directory / "smooth"))
    train(smooth)
    other = small_run(directory, train__seed=99)
    train(other)
    mine = small_run(directory)
    train(mine, should_stop=stop_after(1))
    name = checkpoint_name(6)
    source, target = (Path(run_paths(config).checkpoints, name) for config in (other, mine))
    shutil.copytree(source, target)
    with caplog.at_level(logging.WARNING):
        train(mine)
    assert f"skipping checkpoint of step 6: {target}: is of another run: small-" in caplog.text
    assert_equal_runs(smooth, mine)


def rewritten(checkpoint: Path, change: Callable[[Path, dict[str, Any]], None]) -> None:
    """Change a committed checkpoint as another version of raykd would have written it."""
    manifest = json.loads((checkpoint / MANIFEST).read_bytes())
    change(checkpoint, manifest)
    text = json.dumps(manifest).encode()
    (checkpoint / MANIFEST).write_bytes(text)
    (checkpoint / COMMITTED).write_text(hashlib.sha256(text).hexdigest())


def without_run(_: Path, manifest: dict[str, Any]) -> None:
    del manifest["content"][RUN]


def without_optimizer(checkpoint: Path, manifest: dict[str, Any]) -> None:
    file = optimizer_file(0, 1)
    del manifest["files"][file]
    (checkpoint / file).unlink()


def test_a_checkpoint_that_does_not_say_its_run_is_continued(directory: Path) -> None:
    config = small_run(directory)
    train(config, should_stop=stop_after(3))
    checkpoints = run_paths(config).checkpoints
    rewritten(Path(checkpoints, checkpoint_name(3)), without_run)
    train(config, should_stop=stop_after(1))
    assert committed_steps(checkpoints) == [3, 4]


def test_a_checkpoint_without_the_optimizer_is_refused(directory: Path) -> None:
    config = small_run(directory)
    train(config, should_stop=stop_after(3))
    rewritten(Path(run_paths(config).checkpoints, checkpoint_name(3)), without_optimizer)
    with pytest.raises(CheckpointError, match=r"step-00000003.*no state of the optimizer"):
        train(config)


def test_what_a_dead_writer_left_is_gone_after_the_next_start(
    directory: Path, s3_uri: str
) -> None:
    config = small_run(directory, output_uri=f"{s3_uri}/runs")
    checkpoints = run_paths(config).checkpoints
    half = uris.join(checkpoints, checkpoint_name(3), "optimizer", "half")
    uris.write_bytes(half, b"half")
    uris.write_bytes(run_paths(config).config, b"name: small")
    train(config, should_stop=stop_after(1))
    assert uris.list_names(checkpoints) == [checkpoint_name(1)]
    local = small_run(directory)
    partial = Path(run_paths(local).checkpoints, f".{checkpoint_name(2)}.dead0000-2.partial")
    partial.mkdir(parents=True)
    uris.write_bytes(run_paths(local).config, b"name: small")
    train(local, should_stop=stop_after(1))
    assert uris.list_names(str(partial.parent)) == [checkpoint_name(1)]


def test_a_checkpoint_has_no_teacher_but_says_which_it_was(directory: Path) -> None:
    teacher = small_run(directory, name="teacher")
    train(teacher)
    where = run_paths(teacher).run
    student = small_run(
        directory,
        teachers={"small": {"model": where}},
        losses={"cross_entropy": {}, "forward_kl": {}},
    )
    paths = run_paths(student)
    train(student)
    published = read_published(uris.join(paths.checkpoints, checkpoint_name(6)), kind=KIND)
    assert published.content == {
        "step": 6,
        "run": paths.name,
        "teachers": {
            "small": {
                "model": where,
                "revision": None,
                "fingerprint": origin_of(run_paths(teacher).name, 6),
            }
        },
    }
    weights = {
        name: entry["bytes"]
        for name, entry in published.files.items()
        if name.endswith(".safetensors")
    }
    assert sorted(weights) == [
        "optimizer/adamw-00001-of-00001.safetensors",
        "student/model.safetensors",
    ]
