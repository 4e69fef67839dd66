"""A model with a head per language survives storage; transformers reads it as a plain one."""

from pathlib import Path

import pytest
import torch
from raykd.config.schema.run import TaskName
from raykd.errors import CheckpointError, ModelError
from raykd.models.build import AUTO_CLASSES
from raykd.models.families import FAMILIES
from raykd.models.files import PROJECTIONS_FILE, languages_of
from raykd.models.load import load_config, load_model, load_weights, save_model
from raykd.models.per_language import PerLanguageModel, single_language_model
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from tests.tiny_models import LABELS, tiny_model
from tests.unit.models.test_per_language import (
    CASES,
    IDS,
    LANGUAGES,
    TASK,
    batch_of,
    read,
    shared_model,
)


@pytest.mark.parametrize(("family", "task"), CASES, ids=IDS)
def test_a_saved_model_is_restored_and_loaded_bit_by_bit(
    family: str, task: TaskName, tmp_path: Path
) -> None:
    model = shared_model(family, task, seed=1)
    save_model(model, tmp_path)
    restored = PerLanguageModel(tiny_model(family, task, seed=2), LANGUAGES)
    load_weights(restored, tmp_path)
    loaded = load_model(str(tmp_path), task, labels=LABELS, new_head="refused")
    assert isinstance(loaded, PerLanguageModel)
    assert loaded.languages == LANGUAGES
    for other in (restored, loaded):
        assert other.state_dict().keys() == model.state_dict().keys()
        for name, tensor in model.state_dict().items():
            assert torch.equal(other.state_dict()[name], tensor), name


@pytest.mark.parametrize(("family", "task"), CASES, ids=IDS)
def test_transformers_loads_encoder_and_first_language_without_a_word(
    family: str, task: TaskName, tmp_path: Path
) -> None:
    model = shared_model(family, task)
    save_model(model, tmp_path)
    plain, info = AUTO_CLASSES[task].from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values()), info
    assert type(plain) is type(model.model)
    batch = batch_of(task, family, 0, 0, 0)
    assert torch.equal(read(plain, task)(batch).logits_PK, read(model, task)(batch).logits_PK)
    encoder = AutoModel.from_pretrained(tmp_path)
    own = model.model.get_submodule(FAMILIES[family].backbone).state_dict()
    for name, tensor in encoder.state_dict().items():
        if name in own and "pooler" not in name:
            assert torch.equal(tensor, own[name]), name


def test_the_projections_of_a_language_fit_a_plain_model_by_their_names(tmp_path: Path) -> None:
    model = shared_model("bert")
    save_model(model, tmp_path)
    plain = AUTO_CLASSES[TASK].from_pretrained(tmp_path)
    projections = load_file(tmp_path / PROJECTIONS_FILE)
    tongan = {n.removeprefix("to/"): t for n, t in projections.items() if n.startswith("to/")}
    assert sorted(tongan) == [
        "bert.pooler.dense.bias",
        "bert.pooler.dense.weight",
        "classifier.bias",
        "classifier.weight",
    ]
    assert not plain.load_state_dict(tongan, strict=False).unexpected_keys
    batch = batch_of(TASK, "bert", 2, 2, 2)
    assert torch.equal(read(plain)(batch).logits_PK, read(model)(batch).logits_PK)


def test_a_single_language_model_is_saved_as_a_plain_one(tmp_path: Path) -> None:
    save_model(shared_model("bert"), tmp_path / "shared")
    loaded = load_model(str(tmp_path / "shared"), TASK, labels=LABELS)
    single_language_model(loaded, "to").save_pretrained(tmp_path / "single")
    assert languages_of(load_config(str(tmp_path / "shared"))) == LANGUAGES
    assert languages_of(load_config(str(tmp_path / "single"))) is None
    single = load_model(str(tmp_path / "single"), TASK, labels=LABELS)
    batch = batch_of(TASK, "bert", 2, 2, 2)
    assert torch.equal(read(single)(batch).logits_PK, read(loaded)(batch).logits_PK)


def test_a_model_is_loaded_in_the_precision_asked_for(tmp_path: Path) -> None:
    save_model(shared_model("bert"), tmp_path)
    loaded = load_model(str(tmp_path), TASK, labels=LABELS, dtype="bfloat16")
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.bfloat16}


def test_heads_for_other_classes_leave_a_plain_model(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = shared_model("bert")
    save_model(model, tmp_path)
    loaded = load_model(str(tmp_path), TASK, labels=("x", "y"))
    assert type(loaded) is type(model.model)
    assert "these tensors start at random: classifier.bias, classifier.weight" in caplog.text
    with pytest.raises(ModelError, match="has no trained head"):
        load_model(str(tmp_path), TASK, labels=("x", "y"), new_head="refused")


def test_missing_and_foreign_projections_are_clear_errors(tmp_path: Path) -> None:
    model, file = shared_model("bert"), tmp_path / PROJECTIONS_FILE
    save_model(model, tmp_path)
    fewer = PerLanguageModel(tiny_model("bert", TASK), LANGUAGES[:2])
    with pytest.raises(CheckpointError, match=r"projections\.safetensors: is of another model"):
        load_weights(fewer, tmp_path)
    tensors = load_file(file)
    del tensors["to/classifier.bias"]
    save_file(tensors, file)
    with pytest.raises(ModelError, match=r"another model than config\.json: to/classifier\.bias"):
        load_model(str(tmp_path), TASK, labels=LABELS)
    file.unlink()
    with pytest.raises(ModelError, match=r"holds no model.*projections\.safetensors"):
        load_model(str(tmp_path), TASK, labels=LABELS)
    with pytest.raises(CheckpointError, match=r"projections\.safetensors: cannot be read"):
        load_weights(model, tmp_path)


def test_a_model_of_one_language_is_one_too(tmp_path: Path) -> None:
    model = PerLanguageModel(tiny_model("bert", TASK), ("to",))
    save_model(model, tmp_path)
    loaded = load_model(str(tmp_path), TASK, labels=LABELS)
    assert loaded.languages == ("to",)
    batch = batch_of(TASK, "bert", 2, 2, 2)
    assert torch.equal(read(loaded)(batch).logits_PK, read(model)(batch).logits_PK)
