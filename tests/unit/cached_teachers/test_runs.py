"""A run that reads its teacher from a cache is the run that asks it, however it is interrupted."""

from pathlib import Path
from typing import Any

import pytest
import torch
from raykd.batch import LayersWanted
from raykd.cached_teachers.build import ensure_caches, opened_caches
from raykd.cached_teachers.targets import cache_targets
from raykd.cached_teachers.writer import CacheWatch
from raykd.config.schema.run import RunConfig
from raykd.distill.assemble import assemble
from raykd.distill.batches import StepReader
from raykd.distill.setup import read_setup
from raykd.distill.step import StepCounts
from raykd.distill.world import World
from raykd.runs.metrics import read_metrics
from raykd.runs.paths import run_paths
from raykd.storage import uris
from raykd.teachers.cache.index import read_index
from raykd.teachers.cached import CachedTeacher
from raykd.train.replay import replay_step

from tests.conftest import FaultyS3
from tests.small_runs import TINY_BERT
from tests.unit.cached_teachers.runs import distilled
from tests.unit.train.test_run import stop_after, timeless, train, weights


def assert_near(first: RunConfig, second: RunConfig, *, rtol: float, atol: float) -> None:
    mine, theirs = weights(first), weights(second)
    for name, tensor in mine.items():
        if name.endswith("key.bias"):
            continue  # attention does not depend on it: its gradient is rounding, which Adam lifts
        torch.testing.assert_close(tensor, theirs[name], rtol=rtol, atol=atol)
    records = [timeless(read_metrics(run_paths(config).metrics)) for config in (first, second)]
    assert len(records[0]) == len(records[1])
    for one, other in zip(*records, strict=True):
        assert one == pytest.approx(other, rel=rtol, abs=atol)


@pytest.mark.parametrize(
    ("task", "cache"),
    [
        ("masked_lm", {"mode": "hidden", "precision": "exact"}),
        ("masked_lm", {"mode": "logits"}),
        ("sequence_classification", {}),
        ("token_classification", {"mode": "logits"}),
    ],
)
def test_a_run_on_an_exact_cache_is_the_run_with_the_live_teacher(
    directory: Path, task: str, cache: dict[str, Any]
) -> None:
    # Seventeen steps of eight rows: the second epoch has other masks.
    live = distilled(directory, None, task=task, train__num_steps=17)
    cached = distilled(directory, cache, task=task, train__num_steps=17)
    assert train(live).is_done
    assert train(cached).is_done
    assert_near(live, cached, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("steps", [1, 4])
def test_stopped_and_continued_on_a_cache_equals_uninterrupted(
    directory: Path, steps: int
) -> None:
    cache = {"mode": "hidden", "precision": "int8"}
    smooth = distilled(directory, cache, output_uri=str(directory / "smooth"))
    bumpy = distilled(directory, cache)
    train(smooth)
    assert train(bumpy, should_stop=stop_after(steps + 5)).step <= 6
    assert train(bumpy).is_done
    for name, tensor in weights(smooth).items():
        assert torch.equal(tensor, weights(bumpy)[name]), name


def test_a_step_on_a_cache_in_a_store_waits_for_no_request(
    directory: Path, faulty_s3: FaultyS3
) -> None:
    cache = {"mode": "hidden", "precision": "exact"}
    near = distilled(directory, cache, output_uri=str(directory / "near"))
    far = distilled(directory, cache | {"uri": f"{faulty_s3.uri}/cache"})
    assert train(near).is_done
    assert train(far).is_done
    for name, tensor in weights(near).items():
        assert torch.equal(tensor, weights(far)[name]), name
    with (
        opened_caches(read_setup(near), World()) as here,
        opened_caches(read_setup(far), World()) as there,
    ):
        expected = CachedTeacher(here["big"], device=torch.device("cpu"))
        run = assemble(read_setup(far), world=World(), caches=there)
        assert run.objective.ensemble is not None
        steps = run.steps()
        ready = [next(steps) for _ in range(2)]
        with faulty_s3.proxy.outage(), uris.retry_for(1):
            for batch in (batch for step in ready for batch in step.micro_batches):
                found_PK = run.objective.ensemble.teachers["big"](batch, LayersWanted()).logits_PK
                assert torch.equal(found_PK, expected(batch).logits_PK)
        steps.restart()


@pytest.mark.parametrize(
    ("changes", "is_loaded"),
    [
        ({}, False),
        ({"losses": {"forward_kl": {}, "hidden_states": {}}}, True),
        ({"student": {"architecture": TINY_BERT, "init": {"copy_layers": {}}}}, True),
    ],
)
def test_the_weights_of_a_cached_teacher_are_loaded_where_they_are_needed(
    directory: Path, changes: dict[str, Any], is_loaded: bool
) -> None:
    config = distilled(directory, {"mode": "hidden"}, **changes)
    assert ensure_caches(config, watch=CacheWatch())
    with opened_caches(read_setup(config), World()) as caches:
        run = assemble(read_setup(config), world=World(), caches=caches)
        assert run.objective.ensemble is not None
        teacher = run.objective.ensemble.teachers["big"]
        assert isinstance(teacher, CachedTeacher)
        assert (teacher._live is not None) == is_loaded
        batches = next(run.steps())
        run.objective(batches.micro_batches[0], 0.0, StepCounts(positions=1, tokens=1))


def test_a_cache_of_a_part_of_an_epoch_is_enough_to_train_and_to_train_on(directory: Path) -> None:
    cache = {"mode": "hidden", "precision": "exact"}
    few = {"data__num_lanes": 2, "data__shuffle_window": 1}
    config = distilled(directory, cache, train__num_steps=2, **few)
    assert train(config).is_done
    target = cache_targets(read_setup(config))["big"]
    key = target.key(target.candidates[0])
    index = read_index(target.uri(key.payload), key)
    assert index is not None
    assert sum(part.part.rows for part in index.parts) < 111
    longer = distilled(directory, cache, train__num_steps=13, **few)
    assert train(longer).is_done
    live = distilled(directory, None, train__num_steps=13, **few)
    assert train(live).is_done
    assert_near(live, longer, rtol=2e-4, atol=2e-5)


def test_masks_that_come_again_are_kept_once(directory: Path) -> None:
    masking = {"num_variants": 2}
    config = distilled(directory, {"mode": "hidden"}, train__num_steps=40, data__masking=masking)
    assert train(config).is_done


def test_epochs_of_a_mixture_are_enough_to_train(directory: Path) -> None:
    mixing = {"fixed": {"weights": {"de": 3, "en": 1}}}
    config = distilled(directory, {"mode": "hidden"}, train__num_steps=13, data__mixing=mixing)
    assert train(config).is_done


def test_every_worker_of_several_reads_what_the_teacher_says(directory: Path) -> None:
    config = distilled(directory, {"mode": "hidden", "precision": "exact"})
    live = assemble(read_setup(distilled(directory, None)), world=World())
    ensure_caches(config, watch=CacheWatch())
    assert live.objective.ensemble is not None
    teacher, rows = live.objective.ensemble.teachers["big"], 0
    with opened_caches(read_setup(config), World()) as caches:
        cached = CachedTeacher(caches["big"], device=torch.device("cpu"))
        for rank in range(3):
            world = World(rank=rank, size=3)
            reader = StepReader(live.setup, live.task, state=live.state, world=world)
            for batch in (batch for _ in range(4) for batch in next(reader).micro_batches):
                rows += int((batch.row_ids_B >= 0).sum())
                expected_PK = teacher(batch, LayersWanted()).logits_PK
                torch.testing.assert_close(cached(batch).logits_PK, expected_PK)
            reader.restart()
    assert rows == 4 * 8


def test_a_replay_reads_the_cache_that_the_run_has_read(directory: Path) -> None:
    config = distilled(directory, {"mode": "hidden", "precision": "int8"})
    train(config)
    records = read_metrics(run_paths(config).metrics)
    said: list[str] = []
    report = replay_step(run_paths(config).run, step=4, on_message=said.append)
    (loss,) = [r["train/loss"] for r in records if r["step"] == 4 and "train/loss" in r]
    assert report.loss == pytest.approx(loss, rel=1e-5)
