"""A student of several languages goes on to learn another, and says what it forgets."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from raykd.config.schema.run import RunConfig, TaskName
from raykd.distill.assemble import assemble
from raykd.distill.distillation import Distillation
from raykd.distill.setup import read_setup
from raykd.distill.world import World
from raykd.errors import ConfigError, ModelError
from raykd.models.load import load_model, save_model
from raykd.models.per_language import PerLanguageModel, single_language_model
from raykd.models.scored import ScoredModel
from raykd.planning.run_plan import plan_run
from raykd.runs.metrics import read_metrics
from raykd.runs.paths import run_paths
from raykd.train.restored import evaluate_run, export_run

from tests.prepared import write_prepared
from tests.small_runs import TINY_BERT, small_run
from tests.tiny_models import LABELS, padded_batch, tiny_model
from tests.unit.train.test_run import assert_equal_runs, stop_after, train

pytestmark = pytest.mark.slow

TASK: TaskName = "sequence_classification"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a place with data in de, en and sw, and a student that has learned de and en.

    The projection of de is sure of a class that half of the rows of sw have, that of en of one
    that none has.
    """
    path = tmp_path_factory.mktemp("languages")
    rows = {"de": [9, 6], "en": [10, 7], "sw": [12]}
    write_prepared(
        path / "data", {"train": rows, "validation": {name: [8] for name in rows}}, labels=LABELS
    )
    save_model(pretrained(), path / "student")
    return path


def pretrained() -> PerLanguageModel:
    model = PerLanguageModel(tiny_model("bert", TASK), ("de", "en"))
    torch.manual_seed(1)
    for parameter in model.heads.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model


def planted(path: Path, *, better: str) -> Path:
    """Save the pretrained student with one projection that scores all classes alike."""
    model = pretrained()
    with torch.no_grad():
        for language in model.languages:
            classifier = model.of(language).classifier
            classifier.weight.zero_()
            classifier.bias.zero_()
            # Wrong for two rows of three at the least, whichever class is meant.
            classifier.bias[0] += 0.0 if language == better else 30.0
    save_model(model, path)
    return path


def run_of(directory: Path, **changes: Any) -> RunConfig:
    given: dict[str, Any] = {
        "student": {"pretrained": str(directory / "student"), "projections": "per_language"},
        "train__num_steps": 2,
        "train__eval_every_steps": 1,
        "train__eval_first": True,
        "train__micro_batch_size": 8,
    }
    return small_run(directory, task=TASK, **(given | changes))


def assembled(config: RunConfig) -> Distillation:
    return assemble(read_setup(config), world=World())


def assert_equal_heads(model: PerLanguageModel, language: str, other: str) -> None:
    mine, theirs = (model.of(name).state_dict() for name in (language, other))
    assert all(torch.equal(mine[name], tensor) for name, tensor in theirs.items())


@pytest.mark.parametrize("better", ["de", "en"])
def test_another_language_starts_from_the_one_with_the_least_loss(
    directory: Path, tmp_path: Path, better: str
) -> None:
    student = {
        "pretrained": str(planted(tmp_path / "planted", better=better)),
        "projections": "per_language",
    }
    found = assembled(run_of(directory, student=student)).student.model
    assert found.languages == ("de", "en", "sw")
    assert_equal_heads(found, "sw", better)
    worse = {"de": "en", "en": "de"}[better]
    named = run_of(directory, student=student | {"projection_sources": {"sw": worse}})
    assert_equal_heads(assembled(named).student.model, "sw", worse)


def test_a_run_begins_exactly_where_the_pretrained_student_ended(directory: Path) -> None:
    found = assembled(run_of(directory)).student.model.state_dict()
    for name, tensor in pretrained().state_dict().items():
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("steps", [0, 1])
def test_forgetting_is_the_first_accuracy_minus_the_present(
    directory: Path, tmp_path: Path, steps: int
) -> None:
    config = run_of(directory, output_uri=str(tmp_path))
    if steps:
        train(config, should_stop=stop_after(steps))
    train(config)
    evaluations = [r for r in read_metrics(run_paths(config).metrics) if "eval/loss" in r]
    assert [record["step"] for record in evaluations] == [0, 1, 2]
    first, *later = evaluations
    assert not any("forgetting" in name for name in first)
    for record in later:
        for suffix in ("", "/de", "/en", "/sw"):
            expected = first[f"eval/accuracy{suffix}"] - record[f"eval/accuracy{suffix}"]
            assert record[f"eval/forgetting{suffix}"] == expected
    assert {r["eval/forgetting/sw"] for r in later} | {r["eval/forgetting/de"] for r in later} != {
        0.0
    }


def test_a_grown_student_continues_bit_by_bit_and_is_exported_whole(
    directory: Path, tmp_path: Path
) -> None:
    smooth, bumpy = (
        run_of(directory, output_uri=str(tmp_path / name)) for name in ("smooth", "bumpy")
    )
    train(smooth)
    train(bumpy, should_stop=stop_after(1))
    train(bumpy)
    assert_equal_runs(smooth, bumpy)
    export_run(run_paths(smooth).run, str(tmp_path / "exported"))
    shared = load_model(str(tmp_path / "exported"), TASK, labels=LABELS).eval()
    reader = ScoredModel(shared, task=TASK, num_classes=3, languages=("de", "en", "sw"))
    for index, language in enumerate(("de", "en", "sw")):
        batch = replace(padded_batch(TASK), languages_B=torch.full((3,), index))
        export_run(run_paths(smooth).run, str(tmp_path / language), language=language)
        single = load_model(str(tmp_path / language), TASK, labels=LABELS).eval()
        assert not isinstance(single, PerLanguageModel)
        for model in (single, single_language_model(shared, language)):
            alone = ScoredModel(model, task=TASK, num_classes=3)
            assert torch.equal(alone(batch).logits_PK, reader(batch).logits_PK)


def test_a_finished_run_is_scored_on_data_of_fewer_languages(
    directory: Path, tmp_path: Path
) -> None:
    save_model(tiny_model("bert", TASK, seed=3), tmp_path / "teacher")
    config = run_of(
        directory,
        student={"architecture": TINY_BERT, "projections": "per_language"},
        teachers={
            "a": {"model": str(tmp_path / "teacher")},
            "b": {"model": str(tmp_path / "teacher"), "languages": ["de"]},
        },
        teacher_weights={"by_language": {"teachers": {"de": "b", "en": "a", "sw": "a"}}},
        losses={"cross_entropy": {}, "forward_kl": {}},
        output_uri=str(tmp_path),
    )
    metrics = train(config).metrics
    run = run_paths(config).run
    found = evaluate_run(run, data_uri=None, split=None)
    assert found == pytest.approx({name: metrics[name] for name in found})
    splits = {"train": {"sw": [4]}, "validation": {"sw": [8]}}
    write_prepared(tmp_path / "swahili", splits, labels=LABELS)
    alone = evaluate_run(run, data_uri=str(tmp_path / "swahili"), split=None)
    assert {"eval/accuracy", "eval/teacher/a/accuracy"} <= set(alone)
    assert not any(name.startswith("eval/teacher/b") for name in alone)
    splits = {"train": {"fr": [4]}, "validation": {"fr": [4]}}
    write_prepared(tmp_path / "other", splits, labels=LABELS)
    with pytest.raises(ModelError, match="has no projection for 'fr'"):
        evaluate_run(run, data_uri=str(tmp_path / "other"), split=None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"student__projection_sources": {"sw": "fr"}}, r"names \['fr'\], but .*\['de', 'en'\]"),
        (
            {"student__projections": "shared"},
            r"student has a projection for each of \['de', 'en'\]",
        ),
    ],
)
def test_projections_that_do_not_fit_are_refused_by_plan_and_run(
    directory: Path, changes: dict[str, Any], message: str
) -> None:
    student = {"pretrained": str(directory / "student"), "projections": "per_language"}
    config = run_of(directory, student=student, **changes)
    with pytest.raises(ConfigError, match=message):
        assembled(config)
    (problem,) = plan_run(config).problems
    with pytest.raises(ConfigError, match=message):
        raise ConfigError(problem)


def test_languages_that_are_evaluated_need_a_projection(directory: Path, tmp_path: Path) -> None:
    write_prepared(
        tmp_path / "data",
        {"train": {"de": [9]}, "validation": {"de": [4], "fr": [4]}},
        labels=LABELS,
    )
    config = run_of(directory, data__uri=str(tmp_path / "data"))
    (problem,) = plan_run(config).problems
    assert "data.eval_split: has rows in ['fr'], but the student has projections" in problem
    data = replace(config.data, eval_split=None, test_split="validation")
    (problem,) = plan_run(replace(config, data=data)).problems
    assert "data.test_split: has rows in ['fr'], but the student has projections" in problem
    assert plan_run(
        replace(config, student=replace(config.student, projections="shared"))
    ).problems


def test_a_pretrained_student_in_another_order_of_classes_is_refused(
    directory: Path, tmp_path: Path
) -> None:
    for name, model in (("plain", tiny_model("bert", TASK)), ("shared", pretrained())):
        model.config.id2label = {0: "c", 1: "a", 2: "b"}
        save_model(model, tmp_path / name)
        student = {"pretrained": str(tmp_path / name)}
        student["projections"] = {"plain": "shared", "shared": "per_language"}[name]
        config = run_of(directory, student=student)
        message = r"the classes \['c', 'a', 'b'\], but the data has .* --labels c,a,b"
        with pytest.raises(ModelError, match=message):
            assembled(config)
        (problem,) = plan_run(config).problems
        assert problem.startswith("student.pretrained: ")


def test_a_head_of_other_classes_is_said_to_start_from_them(
    directory: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = tiny_model("bert", TASK)
    model.config.id2label = {0: "x", 1: "y", 2: "z"}
    save_model(model, tmp_path / "other")
    config = run_of(directory, student={"pretrained": str(tmp_path / "other")})
    with caplog.at_level(logging.WARNING):
        run = assembled(config)
    assert "the head for ['a', 'b', 'c'] starts as that for ['x', 'y', 'z']" in caplog.text
    assert torch.equal(
        run.student.model.get_parameter("classifier.weight"), model.classifier.weight
    )


def test_a_teacher_in_another_order_of_classes_teaches_by_name(
    directory: Path, tmp_path: Path
) -> None:
    model = tiny_model("bert", TASK, seed=3)
    save_model(model, tmp_path / "plain")
    order = torch.tensor([2, 0, 1])
    with torch.no_grad():
        model.classifier.weight.copy_(model.classifier.weight[order])
        model.classifier.bias.copy_(model.classifier.bias[order])
    model.config.id2label = {0: "c", 1: "a", 2: "b"}
    save_model(model, tmp_path / "reordered")
    configs = [
        run_of(
            directory,
            teachers={"big": {"model": str(tmp_path / name)}},
            losses={"cross_entropy": {}, "forward_kl": {}},
            output_uri=str(tmp_path / f"runs-{name}"),
        )
        for name in ("plain", "reordered")
    ]
    for config in configs:
        assert plan_run(config).problems == ()
        train(config)
    assert_equal_runs(*configs)
    model.config.id2label = {0: "c", 1: "a", 2: "d"}
    save_model(model, tmp_path / "reordered")
    message = r"\['c', 'a', 'd'\], but the data has the classes \['a', 'b', 'c'\]"
    with pytest.raises(ModelError, match=message):
        assembled(configs[1])


def test_a_decoder_teaches_an_encoder_to_classify(directory: Path, tmp_path: Path) -> None:
    save_model(tiny_model("llama", TASK, seed=2), tmp_path / "decoder")
    config = run_of(
        directory,
        teachers={"big": {"model": str(tmp_path / "decoder")}},
        losses={"forward_kl": {}},
        train__num_steps=12,
        train__eval_every_steps=12,
        output_uri=str(tmp_path),
    )
    assert plan_run(config).problems == ()
    train(config)
    records = read_metrics(run_paths(config).metrics)
    losses = [r["train/loss/forward_kl"] for r in records if "train/loss" in r]
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("role", ["student", "teachers.big"])
def test_attention_scores_of_deberta_are_refused(
    directory: Path, tmp_path: Path, role: str
) -> None:
    families = {"student": "bert", "teachers.big": "bert"} | {role: "deberta-v2"}
    for name, family in families.items():
        is_relative = family == "deberta-v2"
        settings = {"relative_attention": True} if is_relative else {}
        save_model(tiny_model(family, TASK, settings=settings), tmp_path / name)
    config = run_of(
        directory,
        student={"pretrained": str(tmp_path / "student")},
        teachers={"big": {"model": str(tmp_path / "teachers.big")}},
        losses={"attention_scores": {}},
    )
    with pytest.raises(ModelError, match=rf"^{role}: a deberta-v2 model .*attention_relations"):
        assembled(config)
    (problem,) = plan_run(config).problems
    assert problem.startswith(f"{role}: a deberta-v2 model")


def test_a_teacher_without_a_projection_for_a_language_is_refused_before_it_is_asked(
    directory: Path,
) -> None:
    section = {"model": str(directory / "student")}
    config = run_of(
        directory,
        student={"architecture": TINY_BERT},
        teachers={"grown": section},
        losses={"forward_kl": {}},
    )
    (problem,) = plan_run(config).problems
    assert problem == (
        "teachers.grown: has projections for ['de', 'en'], but is asked about ['sw']; name those "
        "that it serves in teachers.grown.languages"
    )
    served = {"grown": section | {"languages": ["de", "en"]}}
    assert (
        plan_run(
            run_of(
                directory,
                student={"architecture": TINY_BERT},
                teachers=served,
                losses={"forward_kl": {}},
            )
        ).problems
        == ()
    )
