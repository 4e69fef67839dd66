"""What stands beside a student's weights comes from its start and from the data's tokenizer."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from raykd.config.schema.run import TaskName
from raykd.data.manifest import TOKENIZER_DIRECTORY, Manifest, read_manifest
from raykd.data.tokenizers import load_tokenizer, save_tokenizer
from raykd.distill.models import build_student
from raykd.distill.setup import read_setup
from raykd.runs.companions import companions_of
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerFast

from tests.small_runs import TINY_BERT, TINY_LLAMA, small_data, small_run
from tests.tiny_models import tiny_model

CHAT = "{% for message in messages %}{{ message.content }}{% endfor %}"


def with_tokenizer(directory: Path, **changes: Any) -> Manifest:
    """Publish a small data set whose tokenizer is changed."""
    small_data(directory / "data")
    path = directory / "data" / TOKENIZER_DIRECTORY
    tokenizer = load_tokenizer(str(path))
    for name, value in changes.items():
        setattr(tokenizer, name, value)
    save_tokenizer(tokenizer, path)
    return read_manifest(str(directory / "data"))


def beside(directory: Path, task: TaskName, student: dict[str, Any]) -> tuple[Any, Any]:
    """Return the tokenizer that a student would be exported with, and how it generates."""
    config = small_run(directory, task=task, student=student)
    with companions_of(build_student(read_setup(config)), config) as path:
        generation = path / "generation_config.json"
        generates = json.loads(generation.read_text()) if generation.exists() else None
        return PreTrainedTokenizerFast.from_pretrained(path), generates


def test_a_built_decoder_generates_up_to_the_tokenizers_end(tmp_path: Path) -> None:
    with_tokenizer(tmp_path, eos_token="[SEP]", bos_token="[CLS]")  # noqa: S106
    _, generation = beside(tmp_path, "causal_lm", {"architecture": TINY_LLAMA})
    ids = {name: generation[f"{name}_token_id"] for name in ("bos", "eos", "pad")}
    assert ids == {"bos": 2, "eos": 3, "pad": 0}


@pytest.mark.parametrize("samples", [True, False])
def test_a_pretrained_decoder_generates_as_its_start(samples: bool, tmp_path: Path) -> None:
    """Also where transformers finds fault with it: a temperature without sampling."""
    with_tokenizer(tmp_path, eos_token="[SEP]")  # noqa: S106
    start = tiny_model("llama", "causal_lm")
    start.save_pretrained(tmp_path / "start")
    chosen = GenerationConfig(eos_token_id=[3, 7], temperature=0.6, do_sample=samples)
    chosen.to_json_file(tmp_path / "start" / "generation_config.json")
    _, generation = beside(tmp_path, "causal_lm", {"pretrained": str(tmp_path / "start")})
    assert generation["eos_token_id"] == [3, 7]
    assert generation["temperature"] == 0.6
    assert generation["pad_token_id"] == 0


def test_a_decoder_built_like_its_teacher_generates_as_that(tmp_path: Path) -> None:
    with_tokenizer(tmp_path, eos_token="[SEP]")  # noqa: S106
    teacher = tiny_model("llama", "causal_lm")
    teacher.generation_config = GenerationConfig(eos_token_id=[3, 7])
    teacher.save_pretrained(tmp_path / "teacher")
    config = small_run(
        tmp_path,
        task="causal_lm",
        student={"architecture": {"num_layers": 1}},
        teachers={"big": {"model": str(tmp_path / "teacher")}},
    )
    student = build_student(read_setup(config))
    assert isinstance(student, PreTrainedModel)
    assert student.generation_config.eos_token_id == [3, 7]


def test_a_classifier_generates_nothing(tmp_path: Path) -> None:
    with_tokenizer(tmp_path)
    _, generation = beside(tmp_path, "sequence_classification", {"architecture": TINY_LLAMA})
    assert generation is None


def test_the_chat_template_goes_with_the_model(tmp_path: Path) -> None:
    with_tokenizer(tmp_path, chat_template=CHAT)
    tokenizer, _ = beside(tmp_path, "causal_lm", {"architecture": TINY_LLAMA})
    assert tokenizer.chat_template == CHAT


@pytest.mark.parametrize(("model_type", "side"), [("llama", "left"), ("gpt2", "right")])
def test_padding_stays_where_the_model_can_have_it(
    model_type: str, side: str, tmp_path: Path
) -> None:
    with_tokenizer(tmp_path, padding_side="left")
    architecture = TINY_BERT | {"model_type": model_type}
    tokenizer, _ = beside(tmp_path, "causal_lm", {"architecture": architecture})
    assert tokenizer.padding_side == side


@pytest.mark.parametrize(("model_type", "has_segments"), [("bert", True), ("gpt2", False)])
def test_segments_are_given_to_models_that_read_them(
    model_type: str, has_segments: bool, tmp_path: Path
) -> None:
    names = ["input_ids", "token_type_ids", "attention_mask"]
    with_tokenizer(tmp_path, model_input_names=names)
    architecture = TINY_BERT | {"model_type": model_type}
    tokenizer, _ = beside(tmp_path, "token_classification", {"architecture": architecture})
    assert ("token_type_ids" in tokenizer("w1")) == has_segments


def test_texts_are_cut_where_the_rows_were_and_the_models_positions_end(tmp_path: Path) -> None:
    with_tokenizer(tmp_path, model_max_length=40)
    tokenizer, _ = beside(tmp_path, "masked_lm", {"architecture": TINY_BERT})
    assert tokenizer.model_max_length == 40
    config = small_run(tmp_path)
    model = build_student(read_setup(config))
    model.config.max_position_embeddings = 24
    with companions_of(model, config) as path:
        cut = PreTrainedTokenizerFast.from_pretrained(path)
    assert cut.model_max_length == 24


def test_the_padding_of_a_pretrained_decoder_is_the_datas(tmp_path: Path) -> None:
    with_tokenizer(tmp_path)
    start = tiny_model("llama", "sequence_classification")
    start.config.pad_token_id = None
    start.config.problem_type = "multi_label_classification"
    start.to(torch.bfloat16).save_pretrained(tmp_path / "start")
    config = small_run(
        tmp_path,
        task="sequence_classification",
        student={"pretrained": str(tmp_path / "start")},
    )
    student = build_student(read_setup(config))
    assert student.config.pad_token_id == 0
    assert student.config.problem_type == "single_label_classification"
    assert student.dtype == student.config.dtype == torch.float32
