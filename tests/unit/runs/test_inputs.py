"""A run is named by what its inputs hold, and refuses to start with others than planned."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from raykd.config.identity import run_id
from raykd.config.inputs import Named
from raykd.config.load import as_yaml, load_run
from raykd.config.schema.run import RunConfig
from raykd.errors import ConfigError, RaykdError
from raykd.models.fingerprint import hub_commit
from raykd.models.load import save_model
from raykd.planning.run_plan import plan_run
from raykd.runs.inputs import check_inputs, find_input, input_uris, pinned
from raykd.runs.paths import run_paths
from raykd.storage import uris

from tests.prepared import word_tokenizer, write_prepared
from tests.small_runs import small_data, small_run
from tests.sweep_files import expanded, sweep_in, write_runs
from tests.tiny_models import tiny_model
from tests.unit.train.test_run import stop_after, train

KEY = "teachers.old.model"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    small_data(tmp_path / "data")
    return tmp_path


def write_model(path: Path, *, seed: int = 0) -> str:
    save_model(tiny_model("bert", "masked_lm", seed=seed), path)
    return str(path)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where models of the Hub are kept on this machine."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


# What is an input


def test_data_and_models_are_inputs(directory: Path) -> None:
    model = write_model(directory / "model")
    config = small_run(
        directory,
        teachers={"here": {"model": model}, "hub": {"model": "org/model", "revision": "a1"}},
        student={"pretrained": "s3://bucket/model"},
        losses={"forward_kl": {}},
    )
    assert input_uris(config) == {
        "data.uri": str(directory / "data"),
        "teachers.here.model": model,
        "teachers.hub.model": "org/model",
        "student.pretrained": "s3://bucket/model",
    }


def test_the_source_of_the_students_weights_is_an_input_unless_it_is_a_teacher(
    directory: Path,
) -> None:
    model = write_model(directory / "model")
    for source, expected in ((model, {"student.init.remap.source": model}), ("here", {})):
        config = small_run(
            directory,
            teachers={"here": {"model": "org/model"}},
            losses={"forward_kl": {}},
            student__init={"remap": {"source": source}},
        )
        of_all = {"data.uri": config.data.uri, "teachers.here.model": "org/model"}
        assert input_uris(config) == of_all | expected


@pytest.mark.usefixtures("hub")
def test_what_the_hub_has_is_left_to_its_name_where_the_commit_is_not_known(
    directory: Path,
) -> None:
    names = []
    for revision in ("a1", "b2"):
        teachers = {"hub": {"model": "org/model", "revision": revision}}
        config = small_run(directory, teachers=teachers, losses={"forward_kl": {}})
        assert pinned(config).inputs.keys() == {"data.uri"}
        names.append(run_paths(config).name)
    assert names[0] != names[1]


def test_a_branch_of_the_hub_is_known_by_its_commit(directory: Path, hub: Path) -> None:
    of_branch = hub / "models--org--moves"
    names = set()
    for commit in ("a" * 40, "b" * 40):
        hub_commit.cache_clear()  # as in another process
        write_model(of_branch / "snapshots" / commit)
        (of_branch / "refs").mkdir(exist_ok=True)
        (of_branch / "refs" / "main").write_text(commit)
        for revision in (None, "main", commit):
            teachers = {"hub": {"model": "org/moves", "revision": revision}}
            config = pinned(small_run(directory, teachers=teachers, losses={"forward_kl": {}}))
            assert config.inputs["teachers.hub.model"] == f"org/moves@{commit}"
            assert config.teachers["hub"].revision == commit
            names.add(run_paths(config).name)
    assert len(names) == 2


# What names a run


def distilled(directory: Path, model: str, **changes: Any) -> RunConfig:
    teachers = {"old": {"model": model}}
    return small_run(directory, teachers=teachers, losses={"forward_kl": {}}, **changes)


def test_the_same_content_is_the_same_run_however_its_place_is_written(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model(directory / "model")
    for name in ("data", "model"):
        shutil.copytree(directory / name, directory / "copies" / name)
        (directory / f"linked-{name}").symlink_to(directory / name)
    monkeypatch.chdir(directory)
    monkeypatch.setenv("HOME", str(directory))
    names = {
        run_paths(distilled(directory, f"{before}model", data__uri=f"{before}data")).name
        for before in ("", "./", "~/", "linked-", "copies/", f"{directory}/copies/", "copies//")
    }
    slashes = distilled(directory, "model/", data__uri="data/")
    assert names == {run_paths(slashes).name}
    assert not plan_run(distilled(directory, "~/model", data__uri="~/data")).problems


def test_the_same_content_in_a_store_is_the_same_run(directory: Path, storage_uri: str) -> None:
    write_model(directory / "model")
    here = run_paths(distilled(directory, str(directory / "model"))).name
    for name in ("data", "model"):
        for path in (directory / name).rglob("*"):
            if path.is_file():
                uri = uris.join(storage_uri, path.relative_to(directory).as_posix())
                uris.write_bytes(uri, path.read_bytes())
    there = distilled(directory, f"{storage_uri}/model", data__uri=uris.join(storage_uri, "data"))
    assert run_paths(there).name == here


@pytest.mark.parametrize("name", ["data", "model"])
def test_other_content_at_the_same_place_is_another_run(directory: Path, name: str) -> None:
    config = distilled(directory, write_model(directory / "model"))
    before = run_paths(config)
    {"data": other_data, "model": other_weights}[name](directory)
    assert run_paths(config) != before


def test_who_prepared_the_data_from_where_is_not_what_the_run_computes(directory: Path) -> None:
    config = small_run(directory)
    before = run_paths(config)
    rewritten_manifest(directory / "data", raykd_version="0.0.1", options={"sources": "moved"})
    assert run_paths(config) == before
    rewritten_manifest(directory / "data", labels=["c", "b", "a"])
    assert run_paths(config) != before


def test_a_run_that_names_its_inputs_is_named_by_them(directory: Path) -> None:
    config = pinned(small_run(directory))
    name = run_paths(config)
    other_data(directory)
    assert run_paths(config) == name


def test_the_name_of_a_teacher_may_have_dots(directory: Path) -> None:
    names = set()
    for place in ("one", "two"):
        teachers = {"bert.v1.model": {"model": write_model(directory / place)}}
        config = small_run(directory, teachers=teachers, losses={"forward_kl": {}})
        names.add(run_paths(config).name)
    assert len(names) == 1


def test_a_run_that_still_trains_stands_for_its_newest_checkpoint(directory: Path) -> None:
    teacher = small_run(directory, name="teacher", train__num_steps=4)
    train(teacher, should_stop=stop_after(2))
    where = run_paths(teacher).run
    config = distilled(directory, where)
    early = pinned(config)
    newest = f"{where}/checkpoints/step-00000002/student"
    assert early.teachers["old"].model == newest
    assert early.inputs[KEY] == f"{run_paths(teacher).name}/2"
    train(config, should_stop=stop_after(1))
    train(teacher)
    late = pinned(config)
    assert late.teachers["old"].model == where
    assert late.inputs[KEY] == f"{run_paths(teacher).name}/4"
    (change,) = plan_run(config).others
    assert f"{KEY}: {where} holds other weights than for the run {run_paths(early).run}" in change


@pytest.mark.parametrize("key", ["data.uri", KEY])
def test_nothing_has_no_fingerprint(storage_uri: str, key: str) -> None:
    with pytest.raises(RaykdError, match="gone"):
        find_input(key, Named(source=uris.join(storage_uri, "gone")))


# Checks


def other_data(directory: Path) -> None:
    shutil.rmtree(directory / "data")
    splits = {"train": {"de": [9], "en": [3]}, "validation": {"de": [4], "en": [4]}}
    write_prepared(directory / "data", splits)


def other_weights(directory: Path) -> None:
    write_model(directory / "model", seed=1)


def as_found(directory: Path) -> None:
    """Change nothing."""


@pytest.mark.parametrize(
    ("change", "told"), [(as_found, None), (other_data, "data.uri"), (other_weights, KEY)]
)
def test_a_run_of_a_sweep_refuses_inputs_that_have_changed(
    tmp_path: Path, change: Callable[[Path], None], told: str | None
) -> None:
    directory = write_runs(tmp_path)
    model = write_model(directory / "model")
    word_tokenizer().save_pretrained(model)
    teachers = {"ready": {"model": model}}
    trial = expanded(sweep_in(directory, teachers=teachers))[1][-1]
    path = tmp_path / "run.yaml"
    path.write_text(as_yaml(trial.config))
    change(directory)
    config = load_run(path)
    assert run_id(config) == trial.id
    problems = [p for p in plan_run(config).problems if "when the run was planned" in p]
    assert [p.partition(":")[0] for p in problems] == ([] if told is None else [told])


def rewritten_manifest(path: Path, *, raykd_version: str | None = None, **content: Any) -> None:
    """Say something else in the manifest of prepared data, and commit that."""
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["raykd_version"] = raykd_version or manifest["raykd_version"]
    manifest["content"] |= content
    text = json.dumps(manifest).encode()
    (path / "manifest.json").write_bytes(text)
    (path / "COMMITTED").write_text(hashlib.sha256(text).hexdigest())


def test_a_trial_does_not_begin_with_inputs_that_have_changed(directory: Path) -> None:
    config = pinned(small_run(directory))
    other_data(directory)
    with pytest.raises(ConfigError, match=r"data.uri: .* holds other data than when the run was"):
        train(config)
    assert not Path(run_paths(config).config).exists()


def test_a_run_that_names_no_fingerprints_is_not_checked(directory: Path) -> None:
    config = small_run(directory)
    other_data(directory)
    check_inputs(config)


def test_an_input_that_the_run_does_not_have_is_told(directory: Path) -> None:
    config = replace(small_run(directory), inputs={"teachers.gone.model": "1a2b"})
    with pytest.raises(ConfigError, match=r"inputs.teachers.gone.model: .* they are data.uri"):
        check_inputs(config)
