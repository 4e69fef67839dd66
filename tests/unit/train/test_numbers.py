"""A student learns a number: from labels, from a teacher, live or cached; and is exported so."""

from pathlib import Path
from typing import Any

import pytest
import torch
from raykd.cached_teachers.build import planned_caches
from raykd.cached_teachers.writer import CacheWatch
from raykd.config.schema.prepare import (
    NUMBER,
    ColumnOptions,
    PrepareOptions,
    SourceOptions,
    TokenizerOptions,
)
from raykd.config.schema.run import RunConfig
from raykd.data.prepare.pipeline import prepare
from raykd.distill.assemble import assemble
from raykd.distill.batches import evaluation_batches
from raykd.distill.setup import read_setup
from raykd.distill.world import World
from raykd.planning.pair import examine_pair
from raykd.planning.run_plan import plan_run
from raykd.runs.inputs import pinned
from raykd.runs.metrics import read_metrics
from raykd.runs.paths import run_paths
from raykd.train.restored import evaluate_run, export_run
from scipy import stats
from transformers import AutoModelForSequenceClassification

from tests.small_runs import TINY_BERT, number_data, small_run
from tests.unit.train.test_run import assert_equal_runs, stop_after, train

STSB = Path(__file__).parents[4] / "shared" / "data" / "glue" / "stsb"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("numbers")
    number_data(path / "data")
    return path


def run_of(directory: Path, **changes: Any) -> RunConfig:
    given: dict[str, Any] = {
        "task": "sequence_classification",
        "losses": {"squared_error": {}},
        "train__num_steps": 4,
        "train__eval_every_steps": 2,
    }
    return small_run(directory, **(given | changes))


@pytest.fixture(scope="module")
def teacher(directory: Path) -> str:
    """Return the directory of a model that has learnt the numbers for a while."""
    config = run_of(
        directory,
        output_uri=str(directory / "teachers"),
        train__num_steps=60,
        train__eval_every_steps=60,
        checkpoint__every_steps=60,
    )
    assert plan_run(config).problems == ()
    metrics = train(config).metrics
    assert metrics["eval/pearson"] > 0.5
    assert {"eval/spearman/de", "eval/pearson/en"} <= metrics.keys()
    assert not any("accuracy" in name or "agreement" in name for name in metrics)
    return run_paths(config).model


def test_transformers_alone_knows_the_model_for_regression(directory: Path, teacher: str) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(teacher).eval()
    assert model.config.problem_type == "regression"
    assert model.config.num_labels == 1
    config = run_of(directory, student={"pretrained": teacher})
    setup = read_setup(config)
    run = assemble(setup, world=World())
    student, theirs, mine, true = run.student.eval(), [], [], []
    for batch in evaluation_batches(setup, run.task, split="validation", world=World()):
        with torch.no_grad():
            inputs = {"input_ids": batch.input_ids_BL, "attention_mask": batch.attention_mask_BL}
            theirs.append(model(**inputs, labels=batch.labels_P))
            mine.append(student(batch).logits_PK.squeeze(-1))
        torch.testing.assert_close(theirs[-1].logits.squeeze(-1), mine[-1])
        error = ((mine[-1] - batch.labels_P) ** 2).mean()
        torch.testing.assert_close(theirs[-1].loss, error)
        true.append(batch.labels_P)
    x, y = (torch.cat(each).double().numpy() for each in (mine, true))
    found = run.evaluate().metrics()
    assert len(x) == 21
    assert found["loss"] == pytest.approx(((x - y) ** 2).mean(), rel=1e-5)
    assert found["pearson"] == pytest.approx(stats.pearsonr(x, y)[0], rel=1e-5)
    assert found["spearman"] == pytest.approx(stats.spearmanr(x, y)[0], rel=1e-5)


@pytest.mark.parametrize("cache", [None, {"mode": "auto"}], ids=["live", "cached"])
def test_a_student_that_says_what_its_teacher_says_has_no_loss(
    directory: Path, teacher: str, tmp_path: Path, cache: dict[str, str] | None
) -> None:
    section = {"model": teacher} | ({} if cache is None else {"cache": cache})
    config = run_of(
        directory,
        student={"pretrained": teacher},
        teachers={"a": section},
        losses={"logit_mse": {}},
        # Adam would make steps of the usual size of differences by rounding.
        optimizer__learning_rate=1e-9,
        output_uri=str(tmp_path),
    )
    assert plan_run(config).problems == ()
    assert train(config).is_done
    first, *_ = (r for r in read_metrics(run_paths(config).metrics) if "train/loss" in r)
    assert first["train/loss"] == pytest.approx(0.0, abs=1e-10)
    (last,) = (
        r for r in read_metrics(run_paths(config).metrics) if r["step"] == 4 and "eval/loss" in r
    )
    assert last["eval/teacher/pearson"] == pytest.approx(last["eval/pearson"], rel=1e-4)


@pytest.mark.parametrize("projections", ["shared", "per_language"])
def test_a_run_that_was_stopped_continues_bit_for_bit(
    directory: Path, teacher: str, tmp_path: Path, projections: str
) -> None:
    smooth, bumpy = (
        run_of(
            directory,
            student={"architecture": TINY_BERT, "projections": projections},
            teachers={"a": {"model": teacher}},
            losses={"squared_error": {}, "logit_mse": {"weight": "1 -> 0"}},
            output_uri=str(tmp_path / name),
        )
        for name in ("smooth", "bumpy")
    )
    assert plan_run(smooth).problems == ()
    finished = train(smooth)
    assert train(bumpy, should_stop=stop_after(3)).step == 3
    assert train(bumpy).is_done
    assert_equal_runs(smooth, bumpy)
    run = run_paths(bumpy).run
    again = evaluate_run(run, data_uri=None, split=None)
    assert again["eval/pearson"] == pytest.approx(finished.metrics["eval/pearson"], rel=1e-6)
    # Loaded by transformers alone, and compared on rows of the data, before it is published.
    assert export_run(run, str(tmp_path / "exported")) == 4


def test_a_larger_student_starts_from_the_head_too(
    directory: Path, teacher: str, tmp_path: Path
) -> None:
    config = run_of(
        directory,
        student={
            "architecture": TINY_BERT | {"hidden_size": 32, "num_heads": 4},
            "init": {"expand": {"source": teacher}},
        },
        output_uri=str(tmp_path),
    )
    start = plan_run(config).start
    assert start is not None
    assert start.provenance["classifier.weight"] is not None
    run = assemble(read_setup(config), world=World())
    assert run.start is not None
    assert run.start.logit_difference == pytest.approx(0.0, abs=1e-4)


def test_a_pair_is_compared_by_its_correlation(directory: Path, teacher: str) -> None:
    pair = examine_pair(
        teacher, teacher, task=None, data_uri=str(directory / "data"), split="validation"
    )
    assert pair.problems == ()
    assert pair.teacher["labels"] == "1 number"
    name = "pearson, validation"
    assert float(pair.teacher[name]) == float(pair.student[name]) > 0.5


def test_a_cache_of_numbers_is_planned(directory: Path, teacher: str) -> None:
    config = run_of(
        directory, teachers={"a": {"model": teacher, "cache": {}}}, losses={"logit_mse": {}}
    )
    plans = planned_caches(pinned(config), watch=CacheWatch(on_message=print))["a"]
    exact, half = (plan.gradient_error for plan in plans)
    assert exact == 0
    # Rounding to 11 bits.
    assert 0 < half < 2**-11
    assert [plan.kl_error for plan in plans] == [None, None]


def test_pairs_of_sentences_are_read_and_learnt(tmp_path: Path) -> None:
    if not STSB.exists():
        pytest.skip(f"{STSB} is not there")
    report = prepare(
        PrepareOptions(
            sources=SourceOptions(
                train=(str(STSB / "validation.parquet"),),
                splits={"validation": (str(STSB / "test.parquet"),)},
            ),
            columns=ColumnOptions(text="sentence1", text_pair="sentence2", label="score"),
            tokenizer=TokenizerOptions(vocab_size=500, lowercase=True),
            label_type="number",
            language="en",
            max_length=32,
            output_uri=str(tmp_path / "data"),
        ),
        on_progress=lambda _: None,
    )
    manifest = report.manifest
    assert (manifest.labels, manifest.has_token_types) == (NUMBER, True)
    assert sum(shard.rows for shard in manifest.shards("train")) == 1500
    config = run_of(
        tmp_path,
        train__num_steps=40,
        train__eval_every_steps=40,
        train__global_batch_size=32,
        train__micro_batch_size=32,
        checkpoint__every_steps=40,
    )
    assert plan_run(config).problems == ()
    metrics = train(config).metrics
    # The variance of the scores is 2.3: a constant that is right does no better.
    assert metrics["eval/loss"] < 3.0
    assert abs(metrics["eval/pearson"]) <= 1
    assert "eval/spearman" in metrics
