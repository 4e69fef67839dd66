"""Whether weights are there and fit is known from the headers of their files."""

import json
from pathlib import Path

import pytest
import torch
from raykd.config.schema.run import TaskName
from raykd.errors import ModelError
from raykd.models.build import build_model
from raykd.models.load import load_config, load_model, save_model
from raykd.models.loadable import check_loadable
from raykd.models.parts import distinct_tensors
from raykd.models.stored import stored_tensors, write_hollow
from raykd.storage import uris
from raykd.storage.published.publishing import publishing
from safetensors.torch import load_file, save_file

from tests.tiny_models import FAMILY_IDS, FAMILY_TASKS, tiny_model

WEIGHTS = "model.safetensors"
HEAD = "classifier.weight"


def check(path: str | Path, task: TaskName) -> None:
    check_loadable(str(path), load_config(str(path)), task, new_head="refused")


@pytest.mark.parametrize(("family", "task"), FAMILY_TASKS, ids=FAMILY_IDS)
def test_a_model_of_every_family_is_whole_by_its_headers(
    family: str, task: TaskName, tmp_path: Path
) -> None:
    model = tiny_model(family, task)
    save_model(model, tmp_path / "ours")
    model.save_pretrained(tmp_path / "theirs")
    model.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    for name in ("ours", "theirs", "shards"):
        check(tmp_path / name, task)
    found = stored_tensors(str(tmp_path / "shards"), "shards")
    assert found == stored_tensors(str(tmp_path / "theirs"), "theirs")


def test_an_encoder_alone_fits_but_for_its_head(tmp_path: Path) -> None:
    tiny_model("bert", "masked_lm").base_model.save_pretrained(tmp_path)
    config = load_config(str(tmp_path))
    check_loadable(str(tmp_path), config, "token_classification", new_head="allowed")
    with pytest.raises(ModelError, match=r"no trained head for BertForTokenClassification"):
        check_loadable(str(tmp_path), config, "token_classification", new_head="refused")


def test_a_head_of_another_task_is_none_even_where_its_tensors_fit(tmp_path: Path) -> None:
    save_model(tiny_model("modernbert", "token_classification"), tmp_path)
    with pytest.raises(ModelError, match=r"no trained head .*: its head is for token_classificat"):
        check(tmp_path, "sequence_classification")


def test_other_files_are_no_part_of_a_model(tmp_path: Path) -> None:
    save_model(tiny_model("bert", "masked_lm"), tmp_path)
    apple_double = b"\0\5\026\7x"
    for name in ("._model.safetensors", "._config.json", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (tmp_path / name).write_bytes(apple_double)
    for name in ("adapter_model.safetensors", "consolidated.safetensors", "x.tmp", "optimizer.pt"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "original").mkdir()
    check(tmp_path, "masked_lm")
    load_model(str(tmp_path), "masked_lm", labels=None)


def test_headers_are_read_from_a_store(storage_uri: str) -> None:
    uri = uris.join(storage_uri, "model")
    with publishing(uri, kind="model") as publication:
        save_model(tiny_model("bert", "masked_lm"), publication.path)
    check(uri, "masked_lm")
    torn = uris.read_bytes(uris.join(uri, WEIGHTS))[:-4]
    uris.write_bytes(uris.join(uri, WEIGHTS), torn)
    with pytest.raises(ModelError, match=r"safetensors cannot be read: it has [0-9,]+ bytes"):
        check(uri, "masked_lm")


def test_the_file_that_transformers_takes_is_the_one_that_counts(tmp_path: Path) -> None:
    save_model(tiny_model("bert", "masked_lm"), tmp_path)
    index = {"weight_map": {"x": "model-00001-of-00002.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    check(tmp_path, "masked_lm")


def test_a_hollow_file_has_shapes_and_takes_no_room(tmp_path: Path) -> None:
    model = tiny_model("bert", "token_classification")
    model.config.save_pretrained(tmp_path)
    with torch.device("meta"):
        tensors = distinct_tensors(build_model(model.config, "token_classification"))
    write_hollow(tmp_path / WEIGHTS, {name: tensor.shape for name, tensor in tensors.items()})
    check(tmp_path, "token_classification")
    assert not any(tensor.any() for tensor in load_file(tmp_path / WEIGHTS).values())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused_by_name(value: float, tmp_path: Path) -> None:
    save_model(tiny_model("bert", "token_classification"), tmp_path)
    tensors = load_file(tmp_path / WEIGHTS)
    tensors[HEAD][0, :2] = value
    save_file(tensors, tmp_path / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=rf"{HEAD} holds 2 values of 96 that are NaN or infinite"):
        load_model(str(tmp_path), "token_classification", labels=("a", "b", "c"))


def test_weights_too_large_for_a_precision_are_refused(tmp_path: Path) -> None:
    save_model(tiny_model("bert", "token_classification"), tmp_path)
    tensors = load_file(tmp_path / WEIGHTS)
    tensors[HEAD][0, 0] = 1e6
    save_file(tensors, tmp_path / WEIGHTS, metadata={"format": "pt"})
    labels = ("a", "b", "c")
    with pytest.raises(ModelError, match=r"infinite in torch\.float16; take .* another dtype"):
        load_model(str(tmp_path), "token_classification", labels=labels, dtype="float16")
    load_model(str(tmp_path), "token_classification", labels=labels, dtype="bfloat16")
