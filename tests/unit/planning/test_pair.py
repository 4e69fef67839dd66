"""What speaks for and against a pair is what the plan of their run says, and their scores."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from raykd.config.schema.run import TaskName
from raykd.errors import DataError, ModelError
from raykd.models.load import save_model
from raykd.models.parts import num_parameters
from raykd.models.per_language import PerLanguageModel
from raykd.planning.pair import Pair, examine_pair
from raykd.runs.paths import run_paths
from raykd.train.run import Listener, train_run

from tests.prepared import VOCAB_SIZE, word_tokenizer
from tests.small_runs import small_data, small_run
from tests.tiny_models import tiny_model

LABELS = ("a", "b", "c")


def saved(
    path: Path,
    task: TaskName = "masked_lm",
    *,
    model_type: str = "bert",
    tokenizer: Any | None = None,
    labels: tuple[str, ...] = LABELS,
    **changes: Any,
) -> str:
    """Write a model whose classes have names, and a tokenizer, that of the data unless given."""
    model = tiny_model(model_type, task, **changes)
    if not task.endswith("_lm"):
        names = dict(enumerate(labels))
        model.config.id2label = names
        model.config.label2id = {name: index for index, name in names.items()}
    save_model(model, path)
    (tokenizer or word_tokenizer()).save_pretrained(path)
    return str(path)


def longer_tokenizer(*words: str) -> Any:
    tokenizer = word_tokenizer()
    tokenizer.add_tokens(list(words))
    return tokenizer


def found(
    teacher: str, student: str, *, task: TaskName | None = None, data: Path | None = None
) -> Pair:
    return examine_pair(
        teacher,
        student,
        task=task,
        data_uri=None if data is None else str(data),
        split="validation",
    )


def the_problem(pair: Pair) -> str:
    (problem,) = pair.problems
    return problem


def the_warning(pair: Pair) -> str:
    (warning,) = pair.warnings
    return warning


@pytest.fixture
def data(tmp_path: Path) -> Path:
    small_data(tmp_path / "data")
    return tmp_path / "data"


def test_vocabularies_padded_in_two_ways_fit_the_tokenizer(tmp_path: Path) -> None:
    models = [
        saved(tmp_path / str(size), "causal_lm", model_type="qwen3", settings={"vocab_size": size})
        for size in (152_064, 151_936)
    ]
    pair = found(*models)
    assert pair.problems == ()
    assert (pair.teacher["vocabulary"], pair.student["vocabulary"]) == ("152,064", "151,936")
    assert pair.teacher["tokenizer"].endswith(f", {VOCAB_SIZE}")


def test_other_tokenizers_are_a_problem(tmp_path: Path) -> None:
    teacher = saved(tmp_path / "teacher")
    student = saved(tmp_path / "student", tokenizer=longer_tokenizer("other"))
    problem = the_problem(found(teacher, student))
    assert problem.startswith(f"student.pretrained: the tokenizer of {student}")
    assert f"is not that of {teacher}" in problem


def test_the_tokenizer_of_a_model_on_the_hub_is_compared_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    commit = "a" * 40
    kept = tmp_path / "models--org--model"
    saved(kept / "snapshots" / commit, tokenizer=longer_tokenizer("other"))
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text(commit)
    pair = found("org/model", saved(tmp_path / "student"))
    assert "is not that of org/model" in the_problem(pair)
    assert found("org/model", "org/model").problems == ()


def test_other_special_ids_are_a_warning_too(tmp_path: Path) -> None:
    tokenizer = word_tokenizer()
    tokenizer.sep_token = "[CLS]"  # noqa: S105  no password
    pair = found(saved(tmp_path / "teacher"), saved(tmp_path / "student", tokenizer=tokenizer))
    assert "is not that of" in the_problem(pair)
    assert the_warning(pair).startswith("special ids differ (sep)")


def test_a_tokenizer_that_is_not_the_datas_is_a_problem(tmp_path: Path, data: Path) -> None:
    model = saved(tmp_path / "model", tokenizer=longer_tokenizer("other"))
    assert found(model, model).problems == ()
    pair = found(model, model, data=data)
    assert [problem.split(":")[0] for problem in pair.problems] == [
        "teachers.teacher.model",
        "student.pretrained",
    ]
    assert "loss, validation" not in pair.teacher


@pytest.mark.parametrize("names", [("teacher",), ("student",), ("teacher", "student")], ids=str)
def test_without_a_tokenizer_nothing_is_proven(tmp_path: Path, names: tuple[str, ...]) -> None:
    paths = {name: saved(tmp_path / name) for name in ("teacher", "student")}
    for name in names:
        (Path(paths[name]) / "tokenizer.json").unlink()
    pair = found(paths["teacher"], paths["student"])
    assert pair.problems == ()
    assert pair.warnings == tuple(
        f"{paths[name]}: no tokenizer beside it proves what its ids mean" for name in names
    )


def test_a_config_that_pads_with_another_id_is_a_warning(tmp_path: Path) -> None:
    tokenizer = word_tokenizer()
    tokenizer.pad_token = "[UNK]"  # noqa: S105  no password
    model = saved(tmp_path / "model", tokenizer=tokenizer)
    warnings = found(model, model).warnings
    assert [warning.split("; ")[0] for warning in warnings] == [
        f"{model}: its config.json has other special ids (pad) than its tokenizer"
    ] * 2


def test_without_data_rows_are_as_long_as_both_read(tmp_path: Path) -> None:
    short = saved(tmp_path / "short", settings={"max_position_embeddings": 24})
    pair = found(short, saved(tmp_path / "long"))
    assert (pair.teacher["context"], pair.student["context"]) == ("24 tokens", "512 tokens")
    assert dict(pair.lines)["memory, float32"].endswith("at 16 x 24 tokens")


def test_longer_rows_than_rotary_positions_were_made_for_are_a_warning(
    tmp_path: Path, data: Path
) -> None:
    model = saved(
        tmp_path / "model",
        "causal_lm",
        model_type="llama",
        settings={"max_position_embeddings": 24},
    )
    config = Path(model) / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"max_position_embeddings": 9}))
    pair = found(model, model, data=data)
    assert pair.problems == ()
    assert (
        pair.warnings
        == (f"{model}: was made for 9 tokens, but rows of the data have up to 16",) * 2
    )


@pytest.mark.parametrize(
    ("order", "warnings"),
    [
        (("a", "b", "c"), []),
        (("c", "a", "b"), []),
        (("a", "b", "x"), ["has no head for sequence_classification and these classes"]),
        (("LABEL_0", "LABEL_1", "LABEL_2"), ["LABEL_0 is a, LABEL_1 is b, LABEL_2 is c"]),
    ],
    ids=str,
)
def test_classes_are_compared_by_name(
    tmp_path: Path, order: tuple[str, ...], warnings: list[str]
) -> None:
    task: TaskName = "sequence_classification"
    teacher = saved(tmp_path / "teacher", task, labels=order)
    pair = found(teacher, saved(tmp_path / "student", task))
    assert pair.problems == ()
    assert pair.teacher["labels"] == ", ".join(order)
    assert len(pair.warnings) == len(warnings)
    assert all(part in warning for part, warning in zip(warnings, pair.warnings, strict=True))


def test_sizes_are_those_of_the_models(tmp_path: Path) -> None:
    pair = found(saved(tmp_path / "teacher", num_layers=4), saved(tmp_path / "student"))
    sizes = [num_parameters(tiny_model("bert", "masked_lm", num_layers=n)) for n in (4, 2)]
    for facts, size in zip((pair.teacher, pair.student), sizes, strict=True):
        assert facts["parameters"] == f"{size.total:,}"
        assert facts["of its layers"] == f"{size.layers:,}"
        assert facts["stored weights"] == "float32"
    # 64 entries of 4 bytes, and 32 numbers of 2 bytes, a million times.
    assert dict(pair.lines)["cache"].startswith("0.26 GB of scores or 0.06 GB of hidden states")


def test_stored_precision_is_read_from_the_files(tmp_path: Path) -> None:
    model = tiny_model("bert", "masked_lm")
    save_model(model.to(torch.bfloat16), tmp_path / "teacher")
    teacher = str(tmp_path / "teacher")
    assert found(teacher, teacher).teacher["stored weights"] == "bfloat16"


@pytest.mark.parametrize(
    ("changes", "possible", "reason"),
    [
        ({}, "hidden_states, attention_scores, attention_relations", ""),
        ({"num_heads": 2}, "hidden_states, attention_relations", "losses.attention_scores: "),
        ({"num_layers": 1}, "attention_relations", "losses.hidden_states: a student of 2 layers"),
    ],
    ids=str,
)
def test_the_losses_on_layers_that_two_shapes_allow(
    tmp_path: Path, changes: dict[str, Any], possible: str, reason: str
) -> None:
    teacher = saved(tmp_path / "teacher", **changes)
    losses = dict(found(teacher, saved(tmp_path / "student")).lines)["losses"]
    assert losses.split("; ")[0] == f"all on logits, {possible}"
    assert reason in losses


def test_both_are_scored_on_data_in_the_order_of_its_classes(tmp_path: Path, data: Path) -> None:
    task: TaskName = "sequence_classification"
    model = saved(tmp_path / "model", task)
    same = found(model, model, data=data)
    assert same.problems == same.warnings == ()
    assert same.teacher["accuracy, validation"] == same.student["accuracy, validation"]
    for language in ("de", "en"):
        assert {f"loss/{language}, validation", f"accuracy/{language}, validation"} <= set(
            same.student
        )
    # The same weights under another order of names predict other classes.
    other = saved(tmp_path / "other", task, labels=("c", "a", "b"))
    mapped = found(other, model, data=data)
    assert mapped.student["loss, validation"] == same.student["loss, validation"]
    assert mapped.teacher["loss, validation"] != same.teacher["loss, validation"]
    assert "--labels c,a,b" in the_problem(found(model, other, data=data))


def test_a_teacher_worse_than_its_student_is_a_warning(tmp_path: Path, data: Path) -> None:
    models = [saved(tmp_path / str(n), seed=n) for n in (1, 2)]
    one, two = (float(found(m, m, data=data).teacher["loss, validation"]) for m in models)
    worse, better = models if one > two else reversed(models)
    assert the_warning(found(worse, better, data=data)).startswith("the teacher is worse in loss")
    assert not any("worse in loss," in text for text in found(better, worse, data=data).warnings)


def test_a_student_without_a_head_is_not_scored(tmp_path: Path, data: Path) -> None:
    task: TaskName = "sequence_classification"
    teacher = saved(tmp_path / "teacher", task)
    student = saved(tmp_path / "student")
    pair = found(teacher, student, data=data)
    assert pair.problems == ()
    assert pair.student["accuracy, validation"] == "no trained head"
    assert the_warning(pair).startswith(f"{student}: has no head for {task}")
    assert "has no trained head" in the_problem(found(student, teacher, task=task, data=data))


def test_models_with_a_projection_per_language_are_asked_about_their_languages(
    tmp_path: Path, data: Path
) -> None:
    task: TaskName = "sequence_classification"
    plain = saved(tmp_path / "plain", task)
    model = tiny_model("bert", task)
    model.config.id2label = dict(enumerate(LABELS))
    save_model(PerLanguageModel(model, ("de", "en")), tmp_path / "shared")
    shared = str(tmp_path / "shared")
    for teacher, student in ((plain, shared), (shared, plain)):
        assert found(teacher, student).problems == ()
        pair = found(teacher, student, data=data)
        assert pair.problems == ()
        assert pair.teacher["loss, validation"] == pair.student["loss, validation"]


def test_runs_and_checkpoints_are_models_too(tmp_path: Path, data: Path) -> None:
    config = small_run(tmp_path, train__num_steps=2)
    listener = Listener(
        on_record=lambda _: None, on_message=lambda _: None, should_stop=lambda: False
    )
    train_run(config, fresh=False, address="local", listener=listener)
    paths = run_paths(config)
    (checkpoint,) = Path(paths.checkpoints).glob("step-*")
    pair = found(paths.run, str(checkpoint), data=data)
    assert pair.problems == pair.warnings == ()
    assert pair.teacher == pair.student


def test_what_is_not_there_is_one_clear_line(tmp_path: Path, data: Path) -> None:
    model = saved(tmp_path / "model")
    with pytest.raises(ModelError, match=r"nowhere: no such directory"):
        found(model, str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="has no split 'test'"):
        examine_pair(model, model, task=None, data_uri=str(data), split="test")


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_a_loss_that_is_no_number_is_a_problem_of_the_model_that_makes_it(
    role: str, tmp_path: Path, data: Path
) -> None:
    whole = saved(tmp_path / "whole", "sequence_classification")
    model = tiny_model("bert", "sequence_classification")
    with torch.no_grad():
        model.bert.embeddings.position_embeddings.weight.fill_(3e38)
    model.config.id2label = dict(enumerate(LABELS))
    save_model(model, tmp_path / "wild")
    wild = str(tmp_path / "wild")
    pair = found(*((wild, whole) if role == "teacher" else (whole, wild)), data=data)
    assert the_problem(pair).startswith(f"{wild}: says NaN or infinity")
