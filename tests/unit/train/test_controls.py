"""Runs with a teacher without knowledge, or with a wrong one: planned, trained, scored again."""

from pathlib import Path
from typing import Any

import pytest
from raykd.cli.commands.check import plan_lines
from raykd.planning.flops import run_flops
from raykd.planning.run_plan import plan_run
from raykd.runs.metrics import Record, read_metrics
from raykd.runs.paths import run_paths
from raykd.storage import uris
from raykd.train.restored import evaluate_run

from tests.prepared import write_prepared
from tests.small_runs import small_data, small_run
from tests.unit.cached_teachers.runs import distilled
from tests.unit.train.test_run import assert_equal_runs, stop_after, timeless, train

KL: dict[str, Any] = {"cross_entropy": {}, "forward_kl": {}}
UNIGRAM: dict[str, Any] = {"teachers": {"none": {"unigram": {}}}, "losses": KL}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    small_data(tmp_path / "data")
    return tmp_path


def test_a_unigram_costs_its_scores_and_needs_no_model(directory: Path) -> None:
    alone, taught = (plan_run(small_run(directory, **given)) for given in ({}, UNIGRAM))
    assert not taught.problems
    assert taught.shared_bytes == alone.shared_bytes
    assert taught.setup is not None
    assert taught.student is not None
    rows, classes = taught.setup.config.train.micro_batch_size, taught.setup.num_classes
    scores = 4 * rows * taught.setup.manifest.max_length * classes
    assert taught.memory_bytes is not None
    assert alone.memory_bytes is not None
    assert 0 < taught.memory_bytes - alone.memory_bytes <= scores
    flops = run_flops(taught.setup, student=taught.student.config, teachers={})
    assert flops.teachers_per_token == 0
    lines = dict(plan_lines(taught.setup.config, taught))
    assert lines["teacher none"] == "no model: how often each label is right in the training data"


def test_a_run_with_a_unigram_goes_on_where_it_stopped(directory: Path) -> None:
    smooth = small_run(directory, output_uri=str(directory / "smooth"), **UNIGRAM)
    bumpy = small_run(directory, **UNIGRAM)
    assert train(smooth).is_done
    assert not train(bumpy, should_stop=stop_after(4)).is_done
    assert train(bumpy).is_done
    assert_equal_runs(smooth, bumpy)


def test_a_unigram_is_scored_on_the_runs_own_data_alone(directory: Path) -> None:
    config = small_run(directory, **UNIGRAM)
    metrics, run = train(config).metrics, run_paths(config).run
    found = evaluate_run(run, data_uri=None, split=None)
    assert found == pytest.approx({name: metrics[name] for name in found})
    assert "eval/teacher/loss" in found
    write_prepared(directory / "other", {"train": {"de": [4]}, "test": {"de": [8]}})
    other = evaluate_run(run, data_uri=str(directory / "other"), split="test")
    assert "eval/loss" in other
    assert "eval/teacher/loss" not in other


def evaluations(directory: Path, cache: dict[str, Any] | None, **changes: Any) -> list[Record]:
    """Train a classifier to its end, and return what it has noted on the way."""
    config = distilled(directory, cache, task="sequence_classification", **changes)
    assert train(config).is_done
    return timeless(read_metrics(run_paths(config).metrics))


def test_a_permuted_teacher_reads_the_cache_of_the_teacher(directory: Path) -> None:
    clean = evaluations(directory, {})
    live = evaluations(directory, None, teachers__big__permuted=3)
    cached = evaluations(directory, {}, teachers__big__permuted=3)
    for one, other in zip(live, cached, strict=True):
        assert one == pytest.approx(other, rel=2e-4, abs=2e-5)
    assert live[-1]["eval/teacher/loss"] != pytest.approx(clean[-1]["eval/teacher/loss"])
    assert len(uris.list_names(str(directory / "cache"))) == 1
