"""Every method of the configuration trains, says what it did, and continues bit for bit."""

import functools
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest
import torch
from raykd.config.schema.losses import LABEL_TERMS, LossesConfig
from raykd.config.schema.run import RunConfig, TaskName
from raykd.config.schema.teachers import TeacherWeightsConfig
from raykd.distill.assemble import assemble
from raykd.distill.setup import read_setup
from raykd.distill.world import World
from raykd.errors import ConfigError
from raykd.models.labels import label_list
from raykd.models.load import save_model
from raykd.models.parts import distinct_tensors
from raykd.planning.run_plan import plan_run
from raykd.runs.checkpoint import checkpoint_name
from raykd.runs.metrics import read_metrics
from raykd.runs.paths import run_paths
from raykd.storage import uris

from tests.small_runs import TINY_BERT, small_data, small_run
from tests.tiny_models import tiny_model
from tests.unit.train.test_run import assert_equal_runs, stop_after, train, weights

pytestmark = pytest.mark.slow

CLASSES: TaskName = "sequence_classification"
SIZES = {"model_type": "bert", "hidden_size": 32, "num_heads": 4, "intermediate_size": 48}
SMALLER = {"num_layers": 1, "hidden_size": 16, "num_heads": 2, "intermediate_size": 24}
LARGER = {"num_layers": 3, "hidden_size": 64, "num_heads": 8, "intermediate_size": 96}
KINDS = ("weight", "bias")
STARTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "copy_layers": ({"num_layers": 1}, {"pattern": "last"}),
    "remap": (LARGER, {"depth": "stack"}),
    "expand": (LARGER | {"num_layers": 2}, {}),
    "select": (SMALLER, {}),
    "subclone": (SMALLER, {"num_batches": 2}),
    "ligo": (LARGER, {"num_steps": 2}),
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a place with data, two classifiers a and b, two language models, and more."""
    path = tmp_path_factory.mktemp("methods")
    small_data(path / "data")
    for seed, name in enumerate("ab", start=8):
        save_model(classifier(seed), path / name)
    save_model(tiny_model("bert", "masked_lm"), path / "encoder")
    save_model(tiny_model("llama", "causal_lm"), path / "decoder")
    return path


def classifier(seed: int) -> Any:
    """Return a classifier whose weights are so large that rows differ in what it predicts."""
    model = tiny_model("bert", CLASSES, seed=seed)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.data *= 15
    return model


def run_of(directory: Path, *names: str, task: TaskName = CLASSES, **changes: Any) -> RunConfig:
    """Return a run of two steps with the teachers that are named."""
    given: dict[str, Any] = {
        "teachers": {name: {"model": str(directory / name)} for name in names},
        "train__num_steps": 2,
        "train__eval_every_steps": 2,
        "train__micro_batch_size": 8,
        "checkpoint__every_steps": 10,
    }
    if names:
        given["losses"] = {"cross_entropy": {}, "forward_kl": {}}
    return small_run(directory, task=task, **(given | changes))


def started(method: str, source: str | None = None, **architecture: Any) -> dict[str, Any]:
    """Return a student that starts by a method."""
    sizes, section = STARTS[method]
    given = {} if source is None else {"source": source}
    return {"architecture": sizes | architecture, "init": {method: section | given}}


def init_of(config: RunConfig) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(uris.read_bytes(run_paths(config).init))
    return found


@pytest.mark.parametrize(
    ("method", "teacher", "task"),
    [*((method, "a", CLASSES) for method in STARTS), ("expand", "decoder", "causal_lm")],
)
def test_a_run_starts_as_planned_and_says_so(
    directory: Path, tmp_path: Path, method: str, teacher: str, task: TaskName
) -> None:
    config = run_of(
        directory, teacher, task=task, student=started(method), output_uri=str(tmp_path)
    )
    plan = plan_run(config)
    assert plan.problems == ()
    assert plan.start is not None
    assert train(config).is_done
    found = init_of(config)
    difference = found.pop("logit_difference")
    planned = asdict(plan.start)
    assert planned.pop("logit_difference") is None
    assert found == planned | {"layers": list(plan.start.layers)}
    assert set(found["provenance"]) == set(distinct_tensors(first_model(config)))
    assert all(origin["source"] for origin in found["provenance"].values())
    assert (difference is not None) == (method == "expand")
    assert difference is None or difference < 1e-4


def first_model(config: RunConfig) -> Any:
    """Return the transformers model of a run before its first step."""
    return assemble(read_setup(config), world=World()).student.model


@pytest.mark.parametrize("method", ["subclone", "ligo"])
@pytest.mark.parametrize(("teacher", "task"), [("a", CLASSES), ("decoder", "causal_lm")])
def test_methods_that_look_at_data_find_the_same_again(
    directory: Path, method: str, teacher: str, task: TaskName
) -> None:
    config = run_of(directory, teacher, task=task, student=started(method))
    first, again = (first_model(config).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], tensor) for name, tensor in again.items())
    unread = run_of(directory, teacher, task=task, student=started(method), data__languages=["en"])
    other = first_model(unread).state_dict()
    assert any(not torch.equal(first[name], tensor) for name, tensor in other.items())


def test_the_source_may_be_another_model_or_one_of_the_teachers(directory: Path) -> None:
    name = "bert.encoder.layer.1.output.dense.weight"
    for source, seed in (("b", 9), (str(directory / "a"), 8)):
        student = started("copy_layers", source, num_layers=2)
        run = assemble(read_setup(run_of(directory, "a", "b", student=student)), world=World())
        assert run.start is not None
        assert run.start.source == source
        found = run.student.model.state_dict()[name]
        assert torch.equal(found, classifier(seed).state_dict()[name])


@pytest.mark.parametrize("method", STARTS)
def test_an_encoder_starts_a_classifier_but_for_its_head(directory: Path, method: str) -> None:
    sizes = SIZES | STARTS[method][0]
    config = run_of(directory, student=started(method, str(directory / "encoder"), **sizes))
    plan, start = plan_run(config), assemble(read_setup(config), world=World()).start
    assert plan.problems == ()
    assert start is not None
    assert plan.start == start
    random = {name: o.how for name, o in start.provenance.items() if o.source is None}
    heads = [f"{part}.{kind}" for part in ("bert.pooler.dense", "classifier") for kind in KINDS]
    assert random == dict.fromkeys(heads, "random: the source has other classes")
    assert start.logit_difference is None


@pytest.mark.parametrize("method", ["copy_layers", "expand", "remap"])
def test_classes_in_another_order_are_brought_to_the_datas(
    directory: Path, tmp_path: Path, method: str
) -> None:
    model = classifier(1)
    model.config.id2label = {0: "c", 1: "a", 2: "b"}
    save_model(model, tmp_path / "reordered")
    sizes = SIZES | STARTS[method][0]
    config = run_of(directory, student=started(method, str(tmp_path / "reordered"), **sizes))
    run = assemble(read_setup(config), world=World())
    assert label_list(run.student.model.config) == ("a", "b", "c")
    expected = model.classifier.bias[torch.tensor([1, 2, 0])]
    assert torch.equal(run.student.model.get_parameter("classifier.bias"), expected)
    assert run.start is not None
    assert all(origin.source for origin in run.start.provenance.values())
    if method == "expand":
        assert run.start.logit_difference is not None
        assert run.start.logit_difference < 1e-4


def test_a_run_that_continues_does_not_need_its_source(directory: Path, tmp_path: Path) -> None:
    shutil.copytree(directory / "encoder", tmp_path / "source")
    student = started("copy_layers", str(tmp_path / "source"), **SIZES, num_layers=2)
    smooth, bumpy = (
        run_of(directory, student=student, train__num_steps=4, output_uri=str(tmp_path / name))
        for name in ("smooth", "bumpy")
    )
    train(smooth)
    assert train(bumpy, should_stop=stop_after(2)).step == 2
    before = init_of(bumpy)
    shutil.rmtree(tmp_path / "source")
    assert plan_run(bumpy).problems == ()
    assert "source" in str(plan_run(bumpy, fresh=True).problems)
    assert train(bumpy).is_done
    assert_equal_runs(smooth, bumpy)
    assert init_of(bumpy) == before == init_of(smooth)


DIVERGENCES = [
    field.name
    for field in fields(LossesConfig)
    if field.name not in LABEL_TERMS and not field.name.startswith("att")
]


@pytest.mark.parametrize("name", DIVERGENCES)
def test_every_divergence_trains(directory: Path, tmp_path: Path, name: str) -> None:
    config = run_of(directory, "a", losses={name: {}}, output_uri=str(tmp_path))
    assert plan_run(config).problems == ()
    before = {key: tensor.clone() for key, tensor in first_model(config).state_dict().items()}
    assert train(config).is_done
    records = read_metrics(run_paths(config).metrics)
    values = [r[f"train/loss/{name}"] for r in records if "train/loss" in r]
    assert len(values) == 2
    assert min(values) > 1e-6
    after = weights(config)
    assert any(not torch.equal(after[key], tensor) for key, tensor in before.items())


WAYS: dict[str, dict[str, Any]] = {
    "fixed": {"weights": {"a": 1, "b": 3}},
    "by_language": {"teachers": {"de": "a", "en": "b"}},
}


@pytest.mark.parametrize("way", [field.name for field in fields(TeacherWeightsConfig)])
def test_every_way_of_weighting_teachers_trains(directory: Path, tmp_path: Path, way: str) -> None:
    config = run_of(
        directory, "a", "b", teacher_weights={way: WAYS.get(way, {})}, output_uri=str(tmp_path)
    )
    assert plan_run(config).problems == ()
    metrics = train(config).metrics
    assert {"eval/teacher/a/accuracy", "eval/teacher/b/agreement/en"} <= set(metrics)


def test_layers_are_not_compared_with_a_teacher_that_measured_weights_may_silence(
    directory: Path,
) -> None:
    with pytest.raises(ConfigError, match=r"hidden_states\.teacher: a is not asked about every"):
        run_of(
            directory,
            "a",
            "b",
            teacher_weights={"importance": {"per": "language"}},
            losses={"hidden_states": {"teacher": "a"}},
        )


CONTINUED: dict[str, dict[str, Any]] = {
    "maps of layers": {
        "student": {"architecture": TINY_BERT | {"num_heads": 4}},
        "losses": {
            "cross_entropy": {},
            "hidden_states": {"teacher": "a"},
            "attention_scores": {"teacher": "a"},
        },
    },
    "per_language": {"student__projections": "per_language"},
    "adaptive": {"data__mixing": {"adaptive": {"floor": 0.1}}},
    "importance": {"teacher_weights": {"importance": {"per": "language"}}},
}


@pytest.fixture(scope="module")
def smooth(directory: Path) -> Callable[[str], RunConfig]:
    """Return a function from a case to its run that is never stopped, trained once."""

    @functools.cache
    def trained(case: str) -> RunConfig:
        config = continued(directory, case, output_uri=str(directory / "smooth"))
        assert train(config).is_done
        return config

    return trained


def continued(directory: Path, case: str, **changes: Any) -> RunConfig:
    """Return a run of six steps with an evaluation after three."""
    given = {"train__num_steps": 6, "train__eval_every_steps": 3, **CONTINUED[case], **changes}
    return run_of(directory, "a", "b", **given)


@pytest.mark.parametrize(
    ("case", "steps"),
    [(case, 4) for case in CONTINUED] + [("adaptive", 2), ("adaptive", 3)],
)
def test_stopped_and_continued_equals_uninterrupted(
    directory: Path, tmp_path: Path, smooth: Callable[[str], RunConfig], case: str, steps: int
) -> None:
    bumpy = continued(directory, case, output_uri=str(tmp_path))
    stopped = train(bumpy, should_stop=stop_after(steps))
    assert (stopped.is_done, stopped.step) == (False, steps)
    assert train(bumpy).is_done
    assert_equal_runs(smooth(case), bumpy)
    assert_equal_states(smooth(case), bumpy)


def assert_equal_states(first: RunConfig, second: RunConfig) -> None:
    """Compare the last checkpoints of two runs of six steps, file by file."""
    mine, theirs = (
        Path(run_paths(config).checkpoints, checkpoint_name(6)) for config in (first, second)
    )
    files = [path.relative_to(mine) for path in mine.rglob("*") if path.is_file()]
    for file in files:
        assert (theirs / file).read_bytes() == (mine / file).read_bytes(), file


def test_a_checkpoint_has_the_maps_of_layers(smooth: Callable[[str], RunConfig]) -> None:
    uri = run_paths(smooth("maps of layers")).checkpoints
    names = {path.name for path in Path(uri, checkpoint_name(6), "optimizer").iterdir()}
    assert names == {"adamw-00001-of-00001.safetensors", "layer_maps.safetensors"}


def test_shares_of_languages_follow_the_evaluations(smooth: Callable[[str], RunConfig]) -> None:
    metrics = run_paths(smooth("adaptive")).metrics
    evaluations = [record for record in read_metrics(metrics) if "eval/loss" in record]
    assert [record["step"] for record in evaluations] == [3, 6]
    for record in evaluations:
        german, english = (record[f"data/share/{language}"] for language in ("de", "en"))
        assert german + english == pytest.approx(1, abs=1e-8)
        gaps = [
            max(record[f"eval/teacher/{name}/accuracy/{language}"] for name in "ab")
            - record[f"eval/accuracy/{language}"]
            for language in ("de", "en")
        ]
        assert gaps[0] != gaps[1]
        assert (german > english) == (gaps[0] > gaps[1])
