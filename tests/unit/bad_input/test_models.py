"""Models that cannot be loaded or do not fit: nothing is unpickled, no code of theirs is run."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.unit.bad_input.refusal import Bad, assert_refused, bad, rows
from tests.unit.bad_input.spoiling import Spoil, cut, in_turn, removed, with_fields, written

_TRAIN = "train kd.yaml"
_CONFIG = "teacher/config.json"
_WEIGHTS = "teacher/model.safetensors"
_INDEX = f"{_WEIGHTS}.index.json"
_BODY = "bert.encoder.layer.0.output.dense.weight"
_OWN_CODE = {"AutoConfig": "own.Config", "AutoModelForMaskedLM": "own.Model"}
_TRAP = "open('trapped', 'w').close()\n"


class _Trap:
    """Leaves a file where it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, (_TRAP,)


def _pickle() -> None:
    Path(_WEIGHTS).unlink()
    torch.save({"x": _Trap()}, "teacher/pytorch_model.bin")


def _without(name: str) -> Spoil:
    def spoil() -> None:
        tensors = load_file(_WEIGHTS)
        del tensors[name]
        save_file(tensors, _WEIGHTS, metadata={"format": "pt"})

    return spoil


def _with(name: str, value: float) -> Spoil:
    def spoil() -> None:
        tensors = load_file(_WEIGHTS)
        tensors[name].fill_(value)
        save_file(tensors, _WEIGHTS, metadata={"format": "pt"})

    return spoil


def _longer() -> None:
    with Path(_WEIGHTS).open("ab") as file:
        file.write(b"\0" * 8)


def _quantised() -> None:
    tensors = load_file(_WEIGHTS)
    tensors[_BODY] = tensors[_BODY].to(torch.int8)
    save_file(tensors, _WEIGHTS, metadata={"format": "pt"})


def _in_shards() -> None:
    """Write the weights as transformers does those of a large model."""
    tensors = list(load_file(_WEIGHTS).items())
    files: dict[str, str] = {}
    for index in range(3):
        file = f"model-{index + 1:05}-of-00003.safetensors"
        share = dict(tensors[index::3])
        save_file(share, f"teacher/{file}", metadata={"format": "pt"})
        files |= dict.fromkeys(share, file)
    Path(_WEIGHTS).unlink()
    Path(_INDEX).write_text(json.dumps({"metadata": {}, "weight_map": files}))


def _more_in_index() -> None:
    index = json.loads(Path(_INDEX).read_text())
    index["weight_map"]["bert.more"] = "model-00001-of-00003.safetensors"
    Path(_INDEX).write_text(json.dumps(index))


def _only(files: Mapping[str, str]) -> Spoil:
    """Return what has the teacher's directory hold these files alone."""

    def spoil() -> None:
        shutil.rmtree("teacher")
        for name, content in files.items():
            written(f"teacher/{name}", content)()

    return spoil


def _adapter(name: str, kind: str, *needles: str) -> Bad:
    config = {"peft_type": kind, "base_model_name_or_path": "org/base"}
    files = {"adapter_config.json": json.dumps(config), "adapter_model.safetensors": ""}
    return _model(name, _only(files), *needles)


def _model(name: str, spoil: Spoil, *needles: str) -> Bad:
    return bad(name, _TRAIN, "teacher", *needles, spoil=spoil)


def _field(name: str, value: object, *needles: str) -> Bad:
    return _model(f"{name}={value!r}", with_fields(_CONFIG, **{name: value}), *needles)


def _late(name: str, spoil: Spoil, *needles: str) -> Bad:
    """Return a row about what is known once weights are loaded: the run has been claimed."""
    return bad(name, _TRAIN, "teacher", *needles, spoil=spoil, leaves=("run.yaml", "inputs.json"))


_FILES = [
    _model("no-config", removed(_CONFIG), "holds no model that can be loaded", "config.json"),
    _model("no-weights", removed(_WEIGHTS), "there is no model.safetensors; save it again"),
    _model("pickled", _pickle, "pytorch_model.bin is pickled, which raykd does not read"),
    _model("cut", cut(_WEIGHTS, -50), "model.safetensors cannot be read", "copy the model again"),
    _model("header", cut(_WEIGHTS, 20), "model.safetensors cannot be read"),
    _model("empty", written(_WEIGHTS, ""), "model.safetensors cannot be read: its 0 bytes are no"),
    _model("noise", written(_WEIGHTS, "x" * 999), "its 999 bytes are no safetensors"),
    _model("text", written(_WEIGHTS, b"\x02" + b"\0" * 7 + b"[]"), "cannot be read: "),
    _model("longer", _longer, "cannot be read: it has ", " bytes, and its header says "),
    _model(
        "shard",
        in_turn(_in_shards, removed("teacher/model-00002-of-00003.safetensors")),
        "model-00002-of-00003.safetensors is missing: model.safetensors.index.json says that it",
        "copy the model again",
    ),
    _model(
        "torn-shard",
        in_turn(_in_shards, cut("teacher/model-00003-of-00003.safetensors", -8)),
        "teacher: model-00003-of-00003.safetensors cannot be read: it has ",
    ),
    _model("index", in_turn(_in_shards, written(_INDEX, "{")), "index.json does not say in which"),
    _model("no-map", in_turn(_in_shards, written(_INDEX, "{}")), "does not say in which file"),
    _model(
        "index-out",
        in_turn(_in_shards, written(_INDEX, '{"weight_map": {"x": "../model.safetensors"}}')),
        "does not say in which file",
    ),
    _model(
        "index-of-more",
        in_turn(_in_shards, _more_in_index),
        "model-00001-of-00003.safetensors lacks bert.more, which model.safetensors.index.json",
    ),
    _model(
        "quantised",
        _quantised,
        "holds bert.encoder.layer.0.output.dense.weight as I8: the weights are quantised",
    ),
    _model("half-json", written(_CONFIG, "{"), "is not a valid JSON file"),
    _model("array", written(_CONFIG, "[]"), "holds no model that can be loaded"),
    _model("no-fields", written(_CONFIG, "{}"), "Should have a `model_type` key"),
    _model("bytes", written(_CONFIG, b"\xff\xfe\0"), "is not a valid JSON file"),
    _model("tokenizer", written("teacher/tokenizer.json", "{"), "no tokenizer can be loaded"),
    _model("tokenizer-of", written("teacher/tokenizer.json", "{}"), "no tokenizer can be loaded"),
    _model("tokens", written("teacher/tokenizer_config.json", "[]"), "no tokenizer can be loaded"),
    _model(
        "other-tokenizer",
        lambda: Path("teacher/tokenizer.json").write_text(
            Path("teacher/tokenizer.json").read_text().replace('"w3"', '"other"')
        ),
        "teachers.big.model: the tokenizer of teacher",
        "prepare the data with --tokenizer teacher",
    ),
]

_FIELDS = [
    _field("model_type", "nope", "has model type `nope`"),
    _field("model_type", 3, "holds no model that can be loaded"),
    _field("hidden_size", "wide", "'hidden_size' expected int, got str (value: 'wide')"),
    _field("hidden_size", -1, "hidden_size is -1; it must be >= 1"),
    _field("hidden_size", 15, "hidden size (15) is not a multiple"),
    _field("num_attention_heads", 0, "num_attention_heads is 0; it must be >= 1"),
    _field("num_hidden_layers", 0, "num_hidden_layers is 0; it must be >= 1"),
    _field("vocab_size", 0, "vocab_size is 0; it must be >= 1"),
    _field("hidden_act", "nope", "a bert model cannot be built: 'nope'"),
    _field("max_position_embeddings", 4, "reads at most 4 tokens", "--max-length 4"),
    _field("id2label", "x", "holds no model that can be loaded"),
    _field("quantization_config", {"quant_method": "gptq"}, "its weights are quantised"),
    _field("raykd_languages", 3, "raykd_languages is 3, not a list of languages"),
    _field("raykd_languages", ["de"], "there is no projections.safetensors"),
    _model(
        "languages",
        in_turn(
            with_fields(_CONFIG, raykd_languages=["de"]),
            lambda: save_file({}, "teacher/projections.safetensors"),
        ),
        "has projections for ['de'], but is asked about ['en']",
    ),
]

_OTHER_THINGS = [
    _adapter("lora", "LORA", "it is an adapter (LORA) to the model org/base: merge it into that"),
    _adapter("prompt", "PREFIX_TUNING", "(PREFIX_TUNING) to the model org/base, of a type that"),
    _model("adapters", _only({"adapter_config.json": "{"}), "it is an adapter (of unknown type)"),
    _model("gguf", _only({"model.Q4_K_M.gguf": ""}), "model.Q4_K_M.gguf is of GGUF, which raykd"),
    _model(
        "tokenizer-alone",
        _only({"tokenizer.json": "{}", "tokenizer_config.json": "{}"}),
        "teacher: holds no model that can be loaded: there is no config.json; it is a tokenizer",
    ),
    _model(
        "around",
        lambda: shutil.move("teacher", "moved") and shutil.move("moved", "teacher/checkpoint-9"),
        "there is no config.json; did you mean ",
        "teacher/checkpoint-9?",
    ),
]

_MISFITS = [
    _model(
        "few-embeddings",
        with_fields(_CONFIG, vocab_size=50),
        "teachers.big.model: teacher has 50 embeddings, fewer than the 64 entries of the token",
    ),
    bad(
        "few-embeddings-pretrained",
        "train run.yaml 'student={pretrained: teacher}'",
        "student.pretrained: teacher has 50 embeddings, fewer than the 64 entries",
        spoil=with_fields(_CONFIG, vocab_size=50),
    ),
    bad(
        "few-embeddings-source",
        "train run.yaml student.init.copy_layers.source=teacher",
        "student.init.copy_layers.source: teacher has 50 embeddings, fewer than the 64 entries",
        spoil=with_fields(_CONFIG, vocab_size=50),
    ),
    _model(
        "built-vocabulary", with_fields(_CONFIG, vocab_size=90), "word_embeddings", "two models"
    ),
    _model(
        "built-width",
        with_fields(_CONFIG, intermediate_size=8),
        "another shape than config.json says",
    ),
    _model("layers", with_fields(_CONFIG, num_hidden_layers=3), "lacks bert.encoder.layer.2"),
    _model(
        "tensor",
        _without("bert.embeddings.word_embeddings.weight"),
        "lacks bert.embeddings.word_embeddings.weight",
    ),
    _model(
        "head",
        _without("cls.predictions.transform.dense.weight"),
        "teacher: has no trained head for BertForMaskedLM: cls.predictions.transform.dense.weight",
        "would be random",
    ),
]

_OUTPUTS = [
    bad("output", "check run.yaml output_uri=rows.jsonl", "rows.jsonl is a file, not a directory"),
    bad("output-below", f"{_TRAIN} output_uri=rows.jsonl/x", "name another output_uri"),
    bad(
        "cache-place",
        f"{_TRAIN} 'teachers.big.cache={{uri: rows.jsonl}}'",
        "rows.jsonl is a file, not a directory; name another teachers.big.cache.uri",
    ),
]

_LATE = [
    _late(
        "not-a-number",
        _with(_BODY, float("nan")),
        f"teacher: {_BODY} holds ",
        "that are NaN or infinite in torch.float32",
    ),
]

_SOURCES = [
    bad("nowhere", f"{_TRAIN} teachers.big.model=nowhere", "nowhere: is neither a directory here"),
    bad("path", f"{_TRAIN} teachers.big.model=./nowhere", "./nowhere: no such directory"),
    bad("typo", f"{_TRAIN} teachers.big.model=./teache", "did you mean teacher?"),
    bad("data", f"{_TRAIN} teachers.big.model=data", "data: holds no model that can be loaded"),
    bad(
        "file", f"{_TRAIN} teachers.big.model=run.yaml", "run.yaml: is a file; name the directory"
    ),
    bad(
        "weights-file",
        f"{_TRAIN} teachers.big.model={_WEIGHTS}",
        "teacher/model.safetensors: is a file; name the directory of the model",
    ),
    bad("escape", f"{_TRAIN} teachers.big.model=../../..", "holds no model that can be loaded"),
    bad("init", f"{_TRAIN} student.init.remap.source=./nowhere", "./nowhere: no such directory"),
    bad("student", "train run.yaml 'student={pretrained: ./nowhere}'", "./nowhere: no such dir"),
    bad(
        "task",
        "train run.yaml task=causal_lm",
        "bert models serve ['masked_lm', 'sequence_classification', 'token_classification']",
    ),
    bad(
        "family",
        "train run.yaml student.architecture.model_type=bart",
        "student.architecture.model_type: 'bart' is not a family raykd knows; it knows ['bert'",
    ),
    bad(
        "width",
        "train run.yaml student.architecture.hidden_size=15",
        "hidden_size (15) must be a multiple of num_heads (2)",
    ),
    bad(
        "setting",
        "train run.yaml 'student.architecture.settings={hiden_act: x}'",
        "student.architecture.settings.hiden_act: bert has no such field; did you mean hidden_act",
    ),
    bad(
        "own-key",
        "train run.yaml 'student.architecture.settings={hidden_size: 8}'",
        "settings.hidden_size: has a key of its own; write student.architecture.hidden_size",
    ),
    bad(
        "small-vocabulary",
        "train run.yaml 'student.architecture.settings={vocab_size: 3}'",
        "student.architecture.settings.vocab_size: holds 3, but the data needs 64",
    ),
    bad(
        "activation",
        "train run.yaml 'student.architecture.settings={hidden_act: nope}'",
        "student.architecture: a bert model cannot be built: 'nope'",
    ),
    bad(
        "layer",
        f"{_TRAIN} 'losses.hidden_states.layers=[0, 9]'",
        "losses.hidden_states: layers [0, 9] names [9], but the source has layers 0 to 1",
    ),
    bad(
        "cached",
        f"{_TRAIN} teachers.big.cache={{}}",
        "model.safetensors cannot be read: it has ",
        spoil=cut(_WEIGHTS, -50),
    ),
    bad(
        "doctor-torn",
        "doctor pair teacher teacher",
        "model.safetensors cannot be read: it has ",
        spoil=cut(_WEIGHTS, -50),
    ),
    bad("doctor", "doctor pair teacher ./nowhere", "./nowhere: no such directory"),
    bad(
        "doctor-data", "doctor pair teacher teacher --data nowhere", "nowhere: holds no committed"
    ),
    bad(
        "doctor-split",
        "doctor pair teacher teacher --data data --split test",
        "data: has no split 'test'; it has ['train', 'validation']",
    ),
    bad("export", "export teacher --output out", "teacher: is no run: it holds no run.yaml"),
]


@rows([*_FILES, *_OTHER_THINGS, *_FIELDS, *_MISFITS, *_LATE, *_SOURCES])
def test_a_model_that_does_not_serve_is_one_message(
    row: Bad, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_refused(row, place=place, capsys=capsys)
    assert not Path("trapped").exists()


@pytest.mark.parametrize("model_type", ["nope", None])
def test_code_of_a_model_is_refused_and_not_run(
    model_type: str | None, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil = in_turn(
        with_fields(_CONFIG, auto_map=_OWN_CODE, model_type=model_type),
        written("teacher/own.py", _TRAP),
    )
    row = _model("own-code", spoil, "config.json asks for code of its own (auto_map)", "family")
    assert_refused(row, place=place, capsys=capsys)
    assert not Path("trapped").exists()
