"""Models survive the way to storage and back, and are found where runs leave them."""

from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from raykd.config.schema.run import TaskName
from raykd.errors import CheckpointError, ModelError
from raykd.models.build import AUTO_CLASSES
from raykd.models.load import load_config, load_model, load_weights, resolve_model, save_model
from raykd.storage import uris
from raykd.storage.published.publishing import publishing
from safetensors.torch import load_file, save_file

from tests.tiny_models import FAMILY_IDS, FAMILY_TASKS, LABELS, tiny_model

BODY_TENSOR = "bert.encoder.layer.1.output.dense.weight"


@pytest.mark.parametrize(("family", "task"), FAMILY_TASKS, ids=FAMILY_IDS)
def test_saved_weights_are_bit_equal(family: str, task: TaskName, tmp_path: Path) -> None:
    model = tiny_model(family, task, seed=1)
    save_model(model, tmp_path)
    restored = tiny_model(family, task, seed=2)
    load_weights(restored, tmp_path)
    loaded = load_model(str(tmp_path), task, labels=None if task.endswith("_lm") else LABELS)
    plain = AUTO_CLASSES[task].from_pretrained(tmp_path)
    for name, tensor in model.state_dict().items():
        for other in (restored, loaded, plain):
            assert torch.equal(other.state_dict()[name], tensor), name


def test_heads_for_other_classes_start_at_random_and_say_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_model(tiny_model("bert", "masked_lm"), tmp_path)
    model = load_model(str(tmp_path), "sequence_classification", labels=("x", "y"))
    assert model.config.id2label == {0: "x", 1: "y"}
    assert "these tensors start at random: bert.pooler.dense.bias" in caplog.text


def test_dtype_is_that_asked_for(tmp_path: Path) -> None:
    save_model(tiny_model("bert", "masked_lm"), tmp_path)
    model = load_model(str(tmp_path), "masked_lm", labels=None, dtype="bfloat16")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    save_model(tiny_model("bert", "masked_lm"), tmp_path)
    with pytest.raises(CheckpointError, match=r"is of another model: bert\.encoder\.layer\.2"):
        load_weights(tiny_model("bert", "masked_lm", num_layers=3), tmp_path)


def test_runs_and_checkpoints_resolve_to_their_models(storage_uri: str) -> None:
    run = uris.join(storage_uri, "run")
    uris.write_bytes(uris.join(run, "run.yaml"), b"")
    with pytest.raises(ModelError, match="no model and no checkpoint that is whole"):
        resolve_model(run)
    first, second, third = (
        uris.join(run, "checkpoints", f"step-000000{step}") for step in (10, 20, 30)
    )
    for checkpoint in (first, second):
        with publishing(checkpoint, kind="checkpoint") as publication:
            (publication.path / "state.json").write_text("{}")
    uris.write_bytes(uris.join(third, "state.json"), b"{}")
    assert resolve_model(run) == uris.join(second, "student")
    assert resolve_model(first) == uris.join(first, "student")
    with publishing(uris.join(run, "model"), kind="model"):
        pass
    assert resolve_model(run) == uris.join(run, "model")
    assert resolve_model("some/hub-name") == "some/hub-name"


@pytest.mark.parametrize("manifest", [None, b"{", b'{"kind": "checkpoint"}'])
def test_a_torn_model_or_checkpoint_of_a_run_is_passed_over(
    manifest: bytes | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "run"
    older, newer, model = (
        run / place
        for place in ("checkpoints/step-00000010", "checkpoints/step-00000020", "model")
    )
    for path, kind in ((older, "checkpoint"), (newer, "checkpoint"), (model, "model")):
        with publishing(str(path), kind=kind):
            pass
    (run / "run.yaml").touch()
    for torn in (newer, model):
        (torn / "manifest.json").unlink()
        if manifest is not None:
            (torn / "manifest.json").write_bytes(manifest)
    assert resolve_model(str(run)) == str(older / "student")
    assert f"passing over a torn model: {model}" in caplog.text
    assert f"passing over a torn checkpoint: {newer}" in caplog.text


def test_models_load_from_a_uri(storage_uri: str, tmp_path: Path) -> None:
    model = tiny_model("bert", "masked_lm")
    uri = uris.join(storage_uri, "model")
    with publishing(uri, kind="model") as publication:
        save_model(model, publication.path)
    loaded = load_model(uri, "masked_lm", labels=None)
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)


def test_missing_empty_and_pickled_models_are_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"nowhere/at-all: is neither a directory here nor"):
        load_config("nowhere/at-all")
    with pytest.raises(ModelError, match=r"holds no model that can be loaded"):
        load_config(str(tmp_path))
    model = tiny_model("bert", "masked_lm")
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"holds no model.*model\.safetensors"):
        load_model(str(tmp_path), "masked_lm", labels=None)


def test_a_random_head_is_refused_where_it_would_teach(tmp_path: Path) -> None:
    save_model(tiny_model("bert", "masked_lm"), tmp_path)
    with pytest.raises(ModelError, match=r"no trained head.*classifier\.bias.*would be random"):
        load_model(str(tmp_path), "token_classification", labels=LABELS, new_head="refused")
    load_model(str(tmp_path), "masked_lm", labels=None, new_head="refused")


@pytest.mark.parametrize("replacement", [{}, {BODY_TENSOR: torch.zeros(32, 47)}])
def test_a_body_with_a_missing_or_misshapen_tensor_is_refused(
    replacement: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    save_model(tiny_model("bert", "masked_lm"), tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    del saved[BODY_TENSOR]
    save_file(saved | replacement, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=rf"lacks {BODY_TENSOR}, or has it in another shape"):
        load_model(str(tmp_path), "masked_lm", labels=None)


def test_missing_torn_and_less_precise_weights_are_checkpoint_errors(tmp_path: Path) -> None:
    model, file = tiny_model("bert", "masked_lm"), tmp_path / "model.safetensors"
    with pytest.raises(CheckpointError, match=r"model\.safetensors: cannot be read"):
        load_weights(model, tmp_path)
    save_model(model, tmp_path)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"model\.safetensors: cannot be read"):
        load_weights(model, tmp_path)
    save_model(tiny_model("bert", "masked_lm").to(torch.bfloat16), tmp_path)
    with pytest.raises(CheckpointError, match=r"bfloat16, but the model's is .*float32"):
        load_weights(model, tmp_path)


def test_a_config_of_the_wrong_types_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert", "hidden_size": "wide"}')
    with pytest.raises(ModelError, match=r"holds no model that can be loaded.*hidden_size"):
        load_config(str(tmp_path))


def test_a_path_to_nothing_is_not_looked_for_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs" / "teacher-12345678").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="did you mean runs/teacher-12345678"):
        resolve_model("runs/teacher")
    with pytest.raises(ModelError, match=r"^\./nowhere: no such directory$"):
        resolve_model("./nowhere")
    assert resolve_model("organisation/model") == "organisation/model"
