"""A model is known by what it computes from, or by the run and step that made it."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from raykd.errors import ModelError
from raykd.models.fingerprint import fingerprints
from raykd.models.load import save_model
from raykd.storage import uris
from raykd.storage.published.publishing import publishing

from tests.tiny_models import tiny_model

MADE_BY = {"run": "teacher-0a1b2c3d", "step": 6}


def write_model(path: Path, *, seed: int = 0) -> str:
    save_model(tiny_model("bert", "masked_lm", seed=seed), path)
    return str(path)


def publish_model(uri: str, *, seed: int = 0) -> None:
    with publishing(uri, kind="model") as publication:
        write_model(publication.path, seed=seed)
        publication.content |= MADE_BY


def publish_checkpoint(uri: str, *, seed: int = 0) -> None:
    with publishing(uri, kind="checkpoint") as publication:
        write_model(publication.path / "student", seed=seed)
        (publication.path / "state.json").write_text("{}")
        publication.content |= MADE_BY


def edited_config(path: Path, **fields: object) -> None:
    config = path / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | fields))


def test_a_directory_is_known_by_what_the_model_computes_from(tmp_path: Path) -> None:
    one = write_model(tmp_path / "one")
    before = fingerprints(one)
    assert before.made_by is None
    assert before.origin == before.weights
    assert fingerprints(write_model(tmp_path / "same")) == before
    assert fingerprints(write_model(tmp_path / "other", seed=1)) != before
    (tmp_path / "one" / "README.md").write_text("nothing of this is computed")
    edited_config(tmp_path / "one", _name_or_path="/elsewhere", transformers_version="4.0")
    assert fingerprints(one) == before
    edited_config(tmp_path / "one", hidden_act="relu")
    assert fingerprints(one) != before


def test_weights_of_the_same_size_and_time_are_other_weights(tmp_path: Path) -> None:
    one, other = (Path(write_model(tmp_path / name, seed=s)) for name, s in (("a", 0), ("b", 1)))
    before = fingerprints(str(one))
    times = (one / "model.safetensors").stat()
    shutil.copy(other / "model.safetensors", one / "model.safetensors")
    os.utime(one / "model.safetensors", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert fingerprints(str(one)) == fingerprints(str(other)) != before


@pytest.mark.parametrize("publish", [publish_model, publish_checkpoint])
def test_what_is_published_is_known_by_the_run_that_made_it_wherever_it_lies(
    storage_uri: str, tmp_path: Path, publish: Callable[..., None]
) -> None:
    plain = fingerprints(write_model(tmp_path / "plain"))
    places = [uris.join(storage_uri, name) for name in ("one", "same", "other")]
    for place, seed in zip(places, (0, 0, 1), strict=True):
        publish(place, seed=seed)
    one, same, other = (fingerprints(place) for place in places)
    assert one == same
    assert one.origin == other.origin == "teacher-0a1b2c3d/6"
    # Bytes are bytes, whoever made them.
    assert one.weights == plain.weights != other.weights


def test_a_model_that_was_saved_over_is_not_what_the_run_made(tmp_path: Path) -> None:
    publish_model(str(tmp_path / "model"))
    before = fingerprints(str(tmp_path / "model"))
    write_model(tmp_path / "model", seed=1)
    after = fingerprints(str(tmp_path / "model"))
    assert before.made_by is not None
    assert after.made_by is None
    assert after.origin == after.weights != before.weights


def test_a_directory_without_a_model_has_no_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("no model")
    with pytest.raises(ModelError, match=f"{tmp_path.name}: holds no model"):
        fingerprints(str(tmp_path))
