"""Of a fraction of the training rows a teacher is asked about those alone."""

from pathlib import Path

import pytest
import torch
from raykd.cached_teachers.targets import cache_targets
from raykd.config.schema.run import RunConfig
from raykd.distill.setup import read_setup
from raykd.runs.metrics import read_metrics
from raykd.runs.paths import run_paths
from raykd.teachers.cache.index import read_index
from raykd.train.restored import evaluate_run

from tests.prepared import write_prepared
from tests.unit.cached_teachers.runs import distilled
from tests.unit.train.test_run import stop_after, timeless, train, weights


def halved(directory: Path, output: str, *, is_cached: bool = True) -> RunConfig:
    """Return three epochs of half of the rows: 45 of 90, 9 to 13 of each class of a language."""
    return distilled(
        directory,
        {"mode": "logits", "precision": "exact"} if is_cached else None,
        task="sequence_classification",
        output_uri=str(directory / output),
        data__fraction=0.5,
        train__num_steps=17,
    )


def rows_of(config: RunConfig, split: str) -> int:
    """Return how many rows of a split the newest index of the teacher's cache has."""
    target = cache_targets(read_setup(config))["big"]
    index = read_index(target.uri(target.candidates[0]), target.key(target.candidates[0]))
    assert index is not None
    parts = [each.part for each in index.parts if each.part.shard.startswith(f"{split}/")]
    return sum(part.rows for part in parts)


def test_a_cache_of_a_fraction_has_its_rows_and_serves_as_the_teacher_does(
    directory: Path,
) -> None:
    cached, live = halved(directory, "cached"), halved(directory, "live", is_cached=False)
    assert train(cached).is_done
    assert train(live).is_done
    kept = sum(shard.rows for shard in read_setup(cached).shards("train"))
    assert 42 <= kept <= 48
    assert (rows_of(cached, "train"), rows_of(cached, "validation")) == (kept, 21)
    records = [timeless(read_metrics(run_paths(run).metrics)) for run in (cached, live)]
    for one, other in zip(*records, strict=True):
        assert one == pytest.approx(other, rel=2e-4, abs=2e-5)


@pytest.mark.parametrize("steps", [3, 9])
def test_stopped_and_continued_on_a_fraction_equals_uninterrupted(
    directory: Path, steps: int
) -> None:
    smooth, bumpy = halved(directory, "smooth"), halved(directory, "bumpy")
    train(smooth)
    assert not train(bumpy, should_stop=stop_after(steps)).is_done
    assert train(bumpy).is_done
    for name, tensor in weights(smooth).items():
        assert torch.equal(tensor, weights(bumpy)[name]), name


def test_another_fraction_is_another_cache(directory: Path) -> None:
    uris = set()
    for fraction, seed in ((1.0, 17), (0.5, 17), (0.6, 17), (0.5, 1)):
        config = distilled(
            directory,
            {"mode": "hidden"},
            data__fraction=fraction,
            data__fraction_seed=seed,
        )
        target = cache_targets(read_setup(config))["big"]
        uris.add(target.uri(target.candidates[0]))
    assert len(uris) == 4


def test_a_run_on_a_fraction_is_scored_on_data_that_have_too_few_rows_for_it(
    directory: Path,
) -> None:
    config = halved(directory, "runs", is_cached=False)
    train(config)
    few = {"train": {"de": [1]}, "validation": {"de": [9]}}
    other = write_prepared(directory / "other", few, labels=("a", "b", "c"))
    found = evaluate_run(run_paths(config).run, data_uri=other.uri, split=None)
    assert "eval/accuracy" in found
    assert evaluate_run(run_paths(config).run, data_uri=other.uri, split="train")
