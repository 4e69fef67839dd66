"""What speaks for and against a pair is found before any weights are loaded."""

from pathlib import Path
from typing import Any

import pytest
import torch
from raykd.config.schema.model import ArchitectureConfig
from raykd.config.schema.run import TaskName
from raykd.errors import DataError, ModelError
from raykd.models.build import Vocabulary, build_config
from raykd.models.load import save_model
from raykd.models.parts import num_parameters
from raykd.planning.pair.examine import examine_pair
from raykd.planning.pair.finding import PairFinding
from raykd.runs.paths import run_paths
from raykd.train.run import Listener, train_run
from safetensors.torch import load_file, save_file

from tests.prepared import VOCAB_SIZE, word_tokenizer
from tests.small_runs import small_data, small_run
from tests.tiny_models import tiny_model

LABELS = ("a", "b", "c")


def directory_of(path: Path, *, tokenizer: Any | None = None, **changes: Any) -> str:
    """Write the configuration of a model without weights, and the tokenizer of the data."""
    fields: dict[str, Any] = {"model_type": "bert", "num_heads": 2, "num_layers": 2}
    fields |= changes
    labels, length = fields.pop("labels", None), fields.pop("max_length", 24)
    fields = {"hidden_size": 8, "intermediate_size": 8} | fields
    config = build_config(
        ArchitectureConfig(**fields),
        like=None,
        vocabulary=Vocabulary(size=VOCAB_SIZE, pad_id=0, max_length=length, labels=labels),
    )
    config.architectures = [
        "BertForMaskedLM" if fields["model_type"] == "bert" else "XForCausalLM"
    ]
    config.save_pretrained(path)
    (tokenizer or word_tokenizer()).save_pretrained(path)
    return str(path)


def saved(path: Path, task: TaskName, *, order: tuple[str, ...] = LABELS, **changes: Any) -> str:
    """Write a model with weights, whose classes stand in an order, and the data's tokenizer."""
    model = tiny_model("bert", task, **changes)
    if not task.endswith("_lm"):
        names = dict(enumerate(order))
        model.config.id2label = names
        model.config.label2id = {name: index for index, name in names.items()}
    save_model(model, path)
    word_tokenizer().save_pretrained(path)
    return str(path)


def found(
    teacher: str, student: str, *, task: TaskName | None = None, data: Path | None = None
) -> dict[str, PairFinding]:
    lines = examine_pair(
        teacher,
        student,
        task=task,
        data_uri=None if data is None else str(data),
        split="validation",
    )
    return {line.name: line for line in lines}


def verdicts(lines: dict[str, PairFinding], verdict: str) -> list[str]:
    return [name for name, line in lines.items() if line.verdict == verdict]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    small_data(tmp_path / "data")
    return tmp_path / "data"


def test_vocabularies_padded_in_two_ways_are_sliced_to_the_tokenizer(tmp_path: Path) -> None:
    models = [
        directory_of(tmp_path / str(size), model_type="qwen3", settings={"vocab_size": size})
        for size in (152_064, 151_936)
    ]
    lines = found(*models)
    assert verdicts(lines, "error") == []
    line = lines["vocabulary"]
    assert (line.teacher, line.student) == ("152,064", "151,936")
    assert (line.verdict, line.advice) == ("ok", f"sliced to the tokenizer's {VOCAB_SIZE}")


def test_a_model_smaller_than_the_tokenizer_is_an_error(tmp_path: Path) -> None:
    tokenizer = word_tokenizer()
    tokenizer.add_tokens(["more", "words"])
    teacher = directory_of(tmp_path / "teacher", tokenizer=tokenizer)
    student = directory_of(
        tmp_path / "student", tokenizer=tokenizer, settings={"vocab_size": VOCAB_SIZE + 2}
    )
    assert found(teacher, student)["vocabulary"].verdict == "error"
    assert found(student, student)["vocabulary"].verdict == "ok"


def test_other_tokenizers_are_an_error_that_says_how_they_differ(tmp_path: Path) -> None:
    teacher = directory_of(tmp_path / "teacher", settings={"vocab_size": VOCAB_SIZE + 1})
    tokenizer = word_tokenizer()
    tokenizer.add_tokens(["other"])
    other_words = directory_of(
        tmp_path / "words", tokenizer=tokenizer, settings={"vocab_size": VOCAB_SIZE + 1}
    )
    line = found(other_words, teacher)["tokenizer"]
    assert line.verdict == "error"
    assert "teacher, student do not agree: 1 ids differ" in line.advice
    tokenizer = word_tokenizer()
    tokenizer.sep_token = "[CLS]"  # noqa: S105  no password
    lines = found(teacher, directory_of(tmp_path / "special", tokenizer=tokenizer))
    assert "the same tokens, but other special ids" in lines["tokenizer"].advice
    assert lines["special ids"].verdict == "warning"
    assert lines["special ids"].advice.startswith("sep differ")


def test_a_tokenizer_that_is_not_the_datas_is_an_error(tmp_path: Path, data: Path) -> None:
    tokenizer = word_tokenizer()
    tokenizer.add_tokens(["other"])
    model = directory_of(
        tmp_path / "model", tokenizer=tokenizer, settings={"vocab_size": VOCAB_SIZE + 1}
    )
    assert found(model, model)["tokenizer"].verdict == "ok"
    lines = found(model, model, data=data)
    assert lines["tokenizer"].verdict == "error"
    assert "loss, validation" not in lines


@pytest.mark.parametrize("names", [("teacher",), ("student",), ("teacher", "student")])
def test_without_a_tokenizer_nothing_is_proven(tmp_path: Path, names: tuple[str, ...]) -> None:
    paths = {name: directory_of(tmp_path / name) for name in ("teacher", "student")}
    for name in names:
        (Path(paths[name]) / "tokenizer.json").unlink()
    line = found(paths["teacher"], paths["student"])["tokenizer"]
    assert line.verdict == "warning"
    assert line.advice.endswith(f"the ids of the {' and the '.join(names)} mean the same")


def test_a_config_that_pads_with_another_id_is_a_warning(tmp_path: Path) -> None:
    tokenizer = word_tokenizer()
    tokenizer.pad_token = "[UNK]"  # noqa: S105  no password
    student = directory_of(tmp_path / "student", tokenizer=tokenizer)
    line = found(directory_of(tmp_path / "teacher"), student)["ids in config.json"]
    assert line.verdict == "warning"
    assert f"{student} (pad)" in line.advice


def test_a_row_that_one_of_the_two_cannot_read_is_an_error(tmp_path: Path, data: Path) -> None:
    short = directory_of(tmp_path / "short", settings={"max_position_embeddings": 24})
    long = directory_of(tmp_path / "long")
    line = found(short, long)["context"]
    assert (line.teacher, line.student, line.verdict) == ("24 tokens", "512 tokens", "warning")
    assert found(short, long, data=data)["context"].verdict == "ok"
    small = tmp_path / "small"
    tiny_model("bert", "masked_lm").config.save_pretrained(small)
    text = (small / "config.json").read_text()
    (small / "config.json").write_text(
        text.replace('"max_position_embeddings": 512', '"max_position_embeddings": 9')
    )
    line = found(str(small), long, data=data)["context"]
    assert (line.teacher, line.verdict) == ("9 tokens", "error")
    assert "--max-length 9" in line.advice


def test_a_family_that_does_not_serve_the_task_is_an_error(tmp_path: Path) -> None:
    teacher = directory_of(tmp_path / "teacher", model_type="llama")
    lines = found(teacher, directory_of(tmp_path / "student"))
    assert verdicts(lines, "error") == ["family"]
    assert lines["family"].advice.startswith("bert models do not serve causal_lm")


@pytest.mark.parametrize(
    ("order", "verdict", "advice"),
    [
        (("a", "b", "c"), "ok", "in the same order"),
        (("c", "a", "b"), "ok", "the teacher's are mapped by name"),
        (("a", "b", "x"), "error", "scores the classes ['a', 'b', 'x'], but the data has"),
        (("LABEL_0", "LABEL_1", "LABEL_2"), "warning", "LABEL_0 is a, LABEL_1 is b, LABEL_2 is c"),
    ],
    ids=str,
)
def test_classes_are_compared_by_name(
    tmp_path: Path, order: tuple[str, ...], verdict: str, advice: str
) -> None:
    teacher = directory_of(tmp_path / "teacher", labels=order)
    student = directory_of(tmp_path / "student", labels=LABELS)
    line = found(teacher, student, task="sequence_classification")["labels"]
    assert line.verdict == verdict
    assert advice in line.advice


def test_a_student_of_other_classes_gets_another_head(tmp_path: Path) -> None:
    teacher = directory_of(tmp_path / "teacher", labels=LABELS)
    student = directory_of(tmp_path / "student")  # LABEL_0 and LABEL_1
    line = found(teacher, student, task="sequence_classification")["labels"]
    assert (line.verdict, line.student) == ("warning", "LABEL_0, LABEL_1")


def test_sizes_are_those_of_the_models(tmp_path: Path) -> None:
    teacher = saved(tmp_path / "teacher", "masked_lm", num_layers=4)
    student = saved(tmp_path / "student", "masked_lm")
    lines = found(teacher, student)
    sizes = [num_parameters(tiny_model("bert", "masked_lm", num_layers=n)) for n in (4, 2)]
    line = lines["parameters"]
    assert (line.teacher, line.student) == tuple(f"{size.total:,}" for size in sizes)
    assert line.advice.endswith("of its layers 50%")
    assert lines["stored weights"].teacher == "float32"
    assert lines["cached scores"].teacher == "0.26 GB"  # 64 entries x 4 bytes x 1e6
    assert lines["cached hidden states"].teacher == "0.06 GB"  # 32 x 2 bytes x 1e6


def test_stored_precision_is_read_from_the_files(tmp_path: Path) -> None:
    model = tiny_model("bert", "masked_lm")
    save_model(model.to(torch.bfloat16), tmp_path / "teacher")
    line = found(str(tmp_path / "teacher"), str(tmp_path / "teacher"))["stored weights"]
    assert (line.teacher, line.advice) == (
        "bfloat16",
        "teachers.NAME.dtype=bfloat16 loses nothing",
    )


@pytest.mark.parametrize(
    ("changes", "possible", "reason"),
    [
        ({}, "hidden_states, attention_scores, attention_relations", ""),
        (
            {"hidden_size": 16, "num_heads": 4},
            "hidden_states (projected 8 to 16), attention_relations",
            "attention_scores needs equally many heads",
        ),
        ({"num_layers": 1}, "attention_relations", "the student is deeper"),
    ],
    ids=str,
)
def test_the_losses_on_layers_that_two_shapes_allow(
    tmp_path: Path, changes: dict[str, int], possible: str, reason: str
) -> None:
    teacher = directory_of(tmp_path / "teacher", **changes)
    line = found(teacher, directory_of(tmp_path / "student"))["layers"]
    assert line.advice.split("; ")[0] == f"losses possible: {possible}"
    assert reason in line.advice


def test_both_are_scored_on_data_in_the_order_of_its_classes(tmp_path: Path, data: Path) -> None:
    task: TaskName = "sequence_classification"
    teacher = saved(tmp_path / "teacher", task)
    same = found(teacher, teacher, task=task, data=data)
    assert verdicts(same, "error") == verdicts(same, "warning") == []
    assert same["accuracy, validation"].teacher == same["accuracy, validation"].student
    for language in ("de", "en"):
        assert {f"loss/{language}, validation", f"accuracy/{language}, validation"} <= set(same)
    # The same weights under another order of names predict other classes.
    other = saved(tmp_path / "other", task, order=("c", "a", "b"))
    mapped = found(teacher, other, task=task, data=data)
    assert mapped["loss, validation"].teacher == same["loss, validation"].teacher
    assert mapped["loss, validation"].student != same["loss, validation"].student


def test_a_teacher_worse_than_its_student_is_a_warning(tmp_path: Path, data: Path) -> None:
    models = [saved(tmp_path / str(n), "masked_lm", seed=n) for n in (1, 2)]
    one, two = (
        float(found(model, model, data=data)["loss, validation"].teacher) for model in models
    )
    worse, better = models if one > two else reversed(models)
    assert found(worse, better, data=data)["loss, validation"].verdict == "warning"
    assert found(better, worse, data=data)["loss, validation"].verdict == "ok"


def test_a_student_without_a_head_is_not_scored(tmp_path: Path, data: Path) -> None:
    task: TaskName = "sequence_classification"
    teacher = saved(tmp_path / "teacher", task)
    student = saved(tmp_path / "student", "masked_lm")
    lines = found(teacher, student, task=task, data=data)
    assert verdicts(lines, "error") == []
    assert lines["accuracy, validation"].student == "no trained head"
    backwards = found(student, teacher, task=task, data=data)
    assert verdicts(backwards, "error") == ["labels"]


def test_runs_and_checkpoints_are_models_too(tmp_path: Path, data: Path) -> None:
    config = small_run(tmp_path, train__num_steps=2)
    listener = Listener(
        on_record=lambda _: None, on_message=lambda _: None, should_stop=lambda: False
    )
    train_run(config, fresh=False, address="local", listener=listener)
    paths = run_paths(config)
    (checkpoint,) = Path(paths.checkpoints).glob("step-*")
    lines = found(paths.run, str(checkpoint), data=data)
    assert verdicts(lines, "error") == verdicts(lines, "warning") == []
    assert lines["tokenizer"].advice == "teacher, student, data agree"
    assert lines["loss, validation"].teacher == lines["loss, validation"].student


def test_what_is_not_there_is_one_clear_line(tmp_path: Path, data: Path) -> None:
    model = directory_of(tmp_path / "model")
    with pytest.raises(ModelError, match=r"nowhere: no such directory"):
        found(model, str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="has no split 'test'"):
        list(examine_pair(model, model, task=None, data_uri=str(data), split="test"))


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_weights_that_are_no_numbers_are_an_error_of_the_model_that_has_them(
    role: str, tmp_path: Path, data: Path
) -> None:
    whole = saved(tmp_path / "whole", "sequence_classification")
    broken = saved(tmp_path / "broken", "sequence_classification")
    weights = tmp_path / "broken" / "model.safetensors"
    tensors = load_file(weights)
    tensors["classifier.bias"][0] = float("nan")
    save_file(tensors, weights, metadata={"format": "pt"})
    pair = (broken, whole) if role == "teacher" else (whole, broken)
    lines = found(*pair, data=data)
    assert verdicts(lines, "error") == ["scores"]
    assert f"{broken}: classifier.bias holds 1 values of 3" in lines["scores"].advice


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_a_loss_that_is_no_number_is_an_error_of_the_model_that_makes_it(
    role: str, tmp_path: Path, data: Path
) -> None:
    whole = saved(tmp_path / "whole", "sequence_classification")
    model = tiny_model("bert", "sequence_classification")
    with torch.no_grad():
        model.bert.embeddings.position_embeddings.weight.fill_(3e38)
    model.config.id2label = dict(enumerate(LABELS))
    save_model(model, tmp_path / "wild")
    wild = str(tmp_path / "wild")
    lines = found(*((wild, whole) if role == "teacher" else (whole, wild)), data=data)
    assert lines["loss, validation"].verdict == "error"
    assert f"the {role} says NaN or infinity" in lines["loss, validation"].advice
