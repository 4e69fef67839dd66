"""Languages that are scored and never trained on: they show in the metrics, and decide nothing."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from raykd.cli.commands.check import plan_lines
from raykd.config.schema.data import DataConfig
from raykd.config.schema.run import RunConfig, TaskName
from raykd.data.selection import initial_state
from raykd.data.stream import evaluation_rows, training_rows
from raykd.distill.assemble import assemble
from raykd.distill.setup import RunSetup, read_setup
from raykd.distill.world import World
from raykd.models.load import load_model, save_model
from raykd.models.per_language import PerLanguageModel, single_language_model
from raykd.models.scored import ScoredModel
from raykd.planning.run_plan import plan_run
from raykd.runs.checkpoint import committed_steps, read_run_state
from raykd.runs.metrics import evaluations
from raykd.runs.paths import run_paths
from raykd.train.restored import evaluate_run
from raykd.train.run import Listener, train_run
from torch.nn.functional import cross_entropy

from tests.prepared import write_prepared
from tests.processes import in_processes
from tests.small_runs import TINY_BERT, number_data, small_run
from tests.tiny_models import LABELS, tiny_model
from tests.unit.distill.test_step import in_double
from tests.unit.train.test_run import assert_equal_runs, stop_after, timeless, train, weights

TASK: TaskName = "sequence_classification"
ALL = ["de", "en", "sw"]
SEEN = ["de", "en"]
PER_LANGUAGE = {"architecture": TINY_BERT, "projections": "per_language"}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a place with data in de, en and sw, all of them in both splits, and two teachers."""
    path = tmp_path_factory.mktemp("unseen")
    rows = {"de": [9, 6], "en": [10, 7], "sw": [12]}
    scored = {"de": [8], "en": [5, 4], "sw": [7, 9]}
    splits = {"train": rows, "validation": scored, "test": {"de": [3], "en": [4], "sw": [5]}}
    write_prepared(path / "data", splits, labels=LABELS)
    for seed, name in enumerate(("a", "b")):
        save_model(tiny_model("bert", TASK, seed=seed), path / name)
    return path


def run_of(
    directory: Path, place: Path, *, evaluated: list[str] | None, **changes: Any
) -> RunConfig:
    return small_run(
        directory,
        task=TASK,
        data__languages=SEEN,
        data__eval_languages=evaluated,
        output_uri=str(place),
        **({"train__num_steps": 4, "train__eval_every_steps": 1} | changes),
    )


def methods(directory: Path, **teacher_a: Any) -> dict[str, Any]:
    """Return what a run with two teachers sets, one of which serves no unseen language."""
    return {
        "teachers": {
            "a": {"model": str(directory / "a"), **teacher_a},
            "b": {"model": str(directory / "b"), "languages": ["en"]},
        },
        "losses": {"cross_entropy": {}, "forward_kl": {}},
    }


def test_no_row_of_an_unseen_language_is_trained_on(directory: Path, tmp_path: Path) -> None:
    setup = read_setup(run_of(directory, tmp_path, evaluated=ALL))
    data = setup.config.data
    state = initial_state(setup.manifest, data)
    steps = training_rows(
        setup.manifest, data, seed=0, global_batch_size=8, worker=(0, 1), state=state
    )
    trained = {i for step in itertools.islice(steps, 12) for i in step.rows.row_ids_B.tolist()}
    of_language = {
        name: _row_ids(setup, replace(data, eval_languages=(name,)), split="train") for name in ALL
    }
    assert trained == of_language["de"] | of_language["en"]
    assert len(of_language["sw"]) == 12
    assert len(_row_ids(setup, data, split="validation")) == 33


def _row_ids(setup: RunSetup, data: DataConfig, *, split: str) -> set[int]:
    rows = evaluation_rows(setup.manifest, data, split=split, batch_size=4, worker=(0, 1))
    return {row_id for piece in rows for row_id in piece.row_ids_B.tolist()}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "teacher_weights": {"importance": {"per": "language"}},
            "data__mixing": {"adaptive": {}},
        },
    ],
)
def test_unseen_rows_decide_nothing(
    directory: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    given = methods(directory) | changes if changes else {}
    without, with_unseen = (
        run_of(directory, tmp_path / str(evaluated), evaluated=evaluated, **given)
        for evaluated in (None, ALL)
    )
    for config in (without, with_unseen):
        assert plan_run(config).problems == ()
        train(config)
    mine, theirs = weights(with_unseen), weights(without)
    assert all(torch.equal(mine[name], tensor) for name, tensor in theirs.items())
    for plain, split in zip(_evaluations(without), _evaluations(with_unseen), strict=True):
        for name in ("loss", "accuracy", "macro_f1", "matthews"):
            assert split[f"eval/seen/{name}"] == pytest.approx(plain[f"eval/{name}"], rel=1e-6)
            assert split[f"eval/unseen/{name}"] == split[f"eval/{name}/sw"]
        assert split["eval/loss"] == pytest.approx(
            (17 * split["eval/seen/loss"] + 16 * split["eval/unseen/loss"]) / 33, rel=1e-6
        )
        assert not any("seen" in name for name in plain)
        assert {name for name in plain if "share" in name} == {
            name for name in split if "share" in name
        }
        if changes:
            assert {"eval/teacher/a/unseen/loss", "eval/teacher/b/seen/agreement"} <= set(split)
            assert not any(name.startswith("eval/teacher/b/unseen") for name in split)
    best = read_run_state(_newest_checkpoint(with_unseen)).best
    assert best is not None
    losses = {record["step"]: record["eval/seen/loss"] for record in _evaluations(with_unseen)}
    assert (best.step, best.loss) == min(losses.items(), key=lambda item: item[1])
    if not changes:
        assert evaluate_run(run_paths(with_unseen).run, data_uri=None, split=None) == {
            name: value
            for name, value in _evaluations(with_unseen)[-1].items()
            if name.startswith("eval/")
        }


def test_a_test_split_is_scored_in_groups_of_languages_too(
    directory: Path, tmp_path: Path
) -> None:
    config = run_of(directory, tmp_path, evaluated=ALL, data__test_split="test")
    metrics = train(config).metrics
    assert metrics["test/loss"] == pytest.approx(
        (7 * metrics["test/seen/loss"] + 5 * metrics["test/unseen/loss"]) / 12, rel=1e-6
    )
    assert metrics["test/unseen/accuracy"] == metrics["test/accuracy/sw"]
    again = evaluate_run(run_paths(config).run, data_uri=None, split="test")
    named = {name.replace("eval/", "test/", 1): value for name, value in again.items()}
    assert named == pytest.approx({n: v for n, v in metrics.items() if n.startswith("test/")})


def test_a_wrong_teacher_is_wrong_in_unseen_languages_too(directory: Path, tmp_path: Path) -> None:
    right, wrong, without = (
        run_of(
            directory,
            tmp_path / str(number),
            evaluated=evaluated,
            teachers={"a": {"model": str(directory / "a"), "permuted": permuted}},
            losses={"cross_entropy": {}, "forward_kl": {}},
        )
        for number, (evaluated, permuted) in enumerate([(ALL, None), (ALL, 3), (None, 3)])
    )
    losses = [train(config).metrics.get("eval/teacher/unseen/loss") for config in (right, wrong)]
    assert losses[0] != pytest.approx(losses[1])
    train(without)
    mine, theirs = weights(wrong), weights(without)
    assert all(torch.equal(mine[name], tensor) for name, tensor in theirs.items())


def test_numbers_are_scored_in_groups_of_languages(tmp_path: Path) -> None:
    number_data(tmp_path / "data")
    config = small_run(
        tmp_path,
        task=TASK,
        losses={"squared_error": {}},
        data__languages=["de"],
        data__eval_languages=["de", "en"],
        train__num_steps=2,
    )
    assert plan_run(config).problems == ()
    metrics = train(config).metrics
    for name in ("loss", "pearson", "spearman"):
        assert metrics[f"eval/seen/{name}"] == metrics[f"eval/{name}/de"]
        assert metrics[f"eval/unseen/{name}"] == metrics[f"eval/{name}/en"]


def _evaluations(config: RunConfig) -> list[dict[str, float]]:
    return timeless(evaluations(run_paths(config).metrics))


def _newest_checkpoint(config: RunConfig) -> Path:
    checkpoints = Path(run_paths(config).checkpoints)
    return checkpoints / f"step-{committed_steps(str(checkpoints))[-1]:08d}"


def test_where_no_language_is_seen_no_checkpoint_is_the_best(
    directory: Path, tmp_path: Path
) -> None:
    config = run_of(directory, tmp_path, evaluated=["sw"])
    assert plan_run(config).problems == ()
    last = train(config).metrics
    assert last["eval/unseen/loss"] == last["eval/loss"]
    assert not any(name.startswith("eval/seen") for name in last)
    assert read_run_state(_newest_checkpoint(config)).best is None


@pytest.mark.parametrize("steps", [1, 3])
def test_a_run_with_unseen_languages_continues_bit_by_bit(
    directory: Path, tmp_path: Path, steps: int
) -> None:
    smooth, bumpy = (
        run_of(
            directory,
            tmp_path / name,
            evaluated=ALL,
            student=PER_LANGUAGE | {"eval_projections": {"sw": "en"}},
        )
        for name in ("smooth", "bumpy")
    )
    train(smooth)
    assert train(bumpy, should_stop=stop_after(steps)).step == steps
    train(bumpy)
    assert_equal_runs(smooth, bumpy)
    assert (
        read_run_state(_newest_checkpoint(smooth)).best
        == read_run_state(_newest_checkpoint(bumpy)).best
    )


def evaluated_by(world: World, config: RunConfig, out: Path) -> None:
    """Score a student and its teachers as one of several workers; the first writes metrics."""
    run = in_double(assemble(read_setup(config), world=world))
    metrics = run.named(run.evaluate())
    if world.rank == 0:
        torch.save(metrics, out)


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("size", [2, 3])
def test_workers_agree_with_one_on_unseen_languages(
    directory: Path, tmp_path: Path, size: int
) -> None:
    student = PER_LANGUAGE | {"eval_projections": {"sw": "en"}}
    config = run_of(directory, tmp_path, evaluated=ALL, student=student, **methods(directory))
    evaluated_by(World(), config, tmp_path / "alone")
    in_processes(evaluated_by, config, tmp_path / "all", size=size, store=tmp_path / "store")
    alone, together = (torch.load(tmp_path / name, weights_only=True) for name in ("alone", "all"))
    assert {"eval/seen/loss", "eval/unseen/macro_f1", "eval/teacher/a/unseen/loss"} <= set(alone)
    assert together == pytest.approx(alone, rel=1e-12)


def test_a_cache_keeps_what_a_teacher_says_of_unseen_languages(
    directory: Path, tmp_path: Path
) -> None:
    live, cached = (
        run_of(
            directory,
            tmp_path / name,
            evaluated=ALL,
            **methods(directory, **({"cache": cache} if cache else {})),
        )
        for name, cache in (("live", None), ("cached", {"uri": str(tmp_path / "cache")}))
    )
    (plan,) = plan_run(cached).caches.values()
    # 32 rows to train on, 33 to evaluate on.
    assert plan.rows == 32 + 33
    train(live)
    said: list[str] = []
    listener = Listener(
        on_record=lambda _: None, on_message=said.append, should_stop=lambda: False
    )
    train_run(cached, fresh=False, address="local", listener=listener)
    assert any("65 of 65 rows" in line for line in said)
    for mine, theirs in zip(_evaluations(cached), _evaluations(live), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-5)
    assert "eval/teacher/a/unseen/accuracy" in theirs


def test_an_unseen_language_is_scored_by_the_projection_that_is_named(
    directory: Path, tmp_path: Path
) -> None:
    student = PER_LANGUAGE | {"eval_projections": {"sw": "en"}}
    config = run_of(directory, tmp_path, evaluated=ALL, student=student)
    last = train(config).metrics
    model = load_model(run_paths(config).model, TASK, labels=LABELS)
    assert isinstance(model, PerLanguageModel)
    assert model.languages == ("de", "en")
    setup = read_setup(config)
    rows = evaluation_rows(
        setup.manifest, setup.config.data, split="validation", batch_size=40, worker=(0, 1)
    )
    batch = setup.task("bert").collate(next(rows))
    is_swahili_P = batch.languages_B == setup.manifest.languages.index("sw")
    for language in SEEN:
        single = single_language_model(model, language).double().eval()
        alone = ScoredModel(single, task=TASK, num_classes=3)
        logits_PK = alone(batch).logits_PK[is_swahili_P]
        loss = cross_entropy(logits_PK, batch.labels_P[is_swahili_P]).item()
        assert (last["eval/unseen/loss"] == pytest.approx(loss, rel=1e-5)) == (language == "en")
    found = evaluate_run(run_paths(config).run, data_uri=None, split=None)
    assert found == {name: value for name, value in last.items() if name.startswith("eval/")}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"evaluated": ["de", "fr"]},
            "data.eval_languages: ['fr'] have no rows in split 'validation' of {data}; it has "
            "['de', 'en', 'sw']",
        ),
        (
            {"evaluated": ALL, "student": PER_LANGUAGE},
            "data.eval_split: has rows in ['sw'], but the student has projections for "
            "['de', 'en']; name the languages in data.languages, or in student.eval_projections "
            "the projections that score them",
        ),
        (
            {"evaluated": ALL, "student": PER_LANGUAGE | {"eval_projections": {"sw": "fr"}}},
            "student.eval_projections names ['fr'], but the student has projections for "
            "['de', 'en']",
        ),
        (
            {"evaluated": SEEN, "student": PER_LANGUAGE | {"eval_projections": {"de": "en"}}},
            "student.eval_projections: ['de'] have their own, as the student has projections for "
            "['de', 'en']",
        ),
        (
            {"evaluated": ["de", "sw"], "data__mixing": {"adaptive": {}}},
            "data.eval_languages leaves out ['en'], but data.mixing.adaptive follows how every "
            "language that is trained on is evaluated: add them",
        ),
    ],
)
def test_languages_that_cannot_be_scored_are_refused_before_anything_starts(
    directory: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    given = methods(directory) if "data__mixing" in changes else {}
    plan = plan_run(run_of(directory, tmp_path, **(given | changes)))
    assert plan.problems == (message.replace("{data}", str(directory / "data")),)


def test_the_plan_counts_the_rows_that_are_scored(directory: Path, tmp_path: Path) -> None:
    config = run_of(directory, tmp_path, evaluated=ALL)
    plan = plan_run(config)
    assert ("unseen", "sw: evaluated on, not trained on") in plan_lines(config, plan)
    plain, unseen = plan_run(run_of(directory, tmp_path, evaluated=None)).data, plan.data
    assert plain is not None
    assert unseen == replace(plain, scored_rows={"eval_split": 33}, unseen=("sw",))
    assert (plain.train_rows, plain.scored_rows, plain.unseen) == (32, {"eval_split": 17}, ())
