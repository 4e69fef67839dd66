"""A run that was planned with some inputs refuses to start with others."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from raykd import storage
from raykd.config.identity import run_id
from raykd.config.load import as_yaml, load_run
from raykd.config.schema.run import RunConfig
from raykd.data.manifest import read_manifest
from raykd.errors import ConfigError, RaykdError
from raykd.models.load import save_model
from raykd.published.publishing import publishing
from raykd.train.inputs import check_inputs, input_fingerprint, input_uris
from raykd.train.plan import plan_run

from tests.prepared import word_tokenizer, write_prepared
from tests.small_runs import small_data, small_run
from tests.sweep_files import expanded, sweep_in, write_runs
from tests.tiny_models import tiny_model

KEY = "teachers.old.model"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    small_data(tmp_path / "data")
    return tmp_path


def write_model(path: Path, *, seed: int = 0) -> str:
    save_model(tiny_model("bert", "masked_lm", seed=seed), path)
    return str(path)


def publish_model(uri: str, *, seed: int = 0) -> None:
    with publishing(uri, kind="model") as publication:
        write_model(publication.path, seed=seed)


def planned(config: RunConfig) -> RunConfig:
    inputs = {key: input_fingerprint(key, uri) for key, uri in input_uris(config).items()}
    return replace(config, inputs=inputs)


# What is an input


def test_data_and_stored_models_are_inputs_and_models_of_the_hub_are_not(directory: Path) -> None:
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
        assert input_uris(config) == {"data.uri": config.data.uri} | expected


def test_a_path_from_where_the_command_runs_is_an_input(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model(directory / "model")
    config = small_run(directory, teachers={"old": {"model": "model"}}, losses={"forward_kl": {}})
    assert KEY not in input_uris(config)
    monkeypatch.chdir(directory)
    assert input_uris(config)[KEY] == "model"


# Fingerprints


def test_data_is_known_by_its_manifest(tmp_path: Path) -> None:
    splits = {"train": {"de": [9]}, "validation": {"de": [4]}}
    places = [str(tmp_path / name) for name in ("one", "same", "other")]
    for place, seed in zip(places, (0, 0, 1), strict=True):
        write_prepared(Path(place), splits, seed=seed)
    one, same, other = (input_fingerprint("data.uri", place) for place in places)
    assert one == same == read_manifest(places[0]).fingerprint
    assert one != other


def test_a_published_model_is_known_by_its_commit_wherever_it_lies(storage_uri: str) -> None:
    places = [storage.join(storage_uri, name) for name in ("one", "same", "other")]
    for place, seed in zip(places, (0, 0, 1), strict=True):
        publish_model(place, seed=seed)
    one, same, other = (input_fingerprint(KEY, place) for place in places)
    assert one == same == storage.read_bytes(storage.join(places[0], "COMMITTED")).decode()
    assert one != other


def test_a_plain_directory_is_known_by_what_the_model_computes_from(tmp_path: Path) -> None:
    one = write_model(tmp_path / "one")
    before = input_fingerprint(KEY, one)
    assert input_fingerprint(KEY, write_model(tmp_path / "same")) == before
    assert input_fingerprint(KEY, write_model(tmp_path / "other", seed=1)) != before
    (tmp_path / "one" / "README.md").write_text("nothing of this is computed")
    assert input_fingerprint(KEY, one) == before
    config = tmp_path / "one" / "config.json"
    config.write_text(config.read_text().replace("gelu", "relu"))
    assert input_fingerprint(KEY, one) != before


def test_a_run_is_known_by_the_model_that_it_stands_for(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.yaml").write_text("name: run\n")
    publish_model(str(run / "model"))
    assert input_fingerprint(KEY, str(run)) == input_fingerprint(KEY, str(run / "model"))


def test_a_checkpoint_of_a_run_is_known_before_it_is_there() -> None:
    for root in ("s3://bucket/runs", "/elsewhere"):
        uri = f"{root}/teacher-0a1b2c3d/checkpoints/step-00000003"
        assert input_fingerprint(KEY, uri) == "teacher-0a1b2c3d/step-00000003"
        assert input_fingerprint(KEY, f"{uri}/") == "teacher-0a1b2c3d/step-00000003"


@pytest.mark.parametrize("key", ["data.uri", KEY])
def test_nothing_has_no_fingerprint(storage_uri: str, key: str) -> None:
    with pytest.raises(RaykdError, match="gone"):
        input_fingerprint(key, storage.join(storage_uri, "gone"))


def test_a_directory_without_a_model_has_no_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("no model")
    with pytest.raises(RaykdError, match=tmp_path.name):
        input_fingerprint(KEY, str(tmp_path))


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


def test_a_run_that_names_no_fingerprints_is_not_checked(directory: Path) -> None:
    config = small_run(directory)
    other_data(directory)
    check_inputs(config)


def test_an_input_that_the_run_does_not_have_is_told(directory: Path) -> None:
    config = replace(planned(small_run(directory)), inputs={"teachers.gone.model": "1a2b"})
    with pytest.raises(ConfigError, match=r"inputs.teachers.gone.model: .* they are data.uri"):
        check_inputs(config)


def test_where_an_input_lies_is_not_what_the_run_computes(directory: Path) -> None:
    shutil.copytree(directory / "data", directory / "moved")
    here = small_run(directory)
    there = small_run(directory, data={"uri": str(directory / "moved"), **LANES})
    assert run_id(here) != run_id(there)
    assert run_id(planned(here)) == run_id(planned(there))
    assert run_id(planned(here)) != run_id(here)


LANES = {"num_lanes": 6, "shuffle_window": 2}


def test_the_name_of_a_teacher_may_have_dots(directory: Path) -> None:
    ids = set()
    for place in ("one", "two"):
        model = write_model(directory / place)
        ids.add(
            run_id(
                planned(
                    small_run(
                        directory,
                        teachers={"bert.v1.model": {"model": model}},
                        losses={"forward_kl": {}},
                    )
                )
            )
        )
    assert len(ids) == 1
