"""No command removes or changes a file that is not raykd's, wherever it is told to write."""

import shlex
from collections.abc import Mapping
from pathlib import Path

import boto3
import pytest
from raykd.cli.main import main
from raykd.config.load import as_yaml, load_run
from raykd.models.load import save_model
from raykd.runs.paths import run_paths
from raykd.storage import uris

from tests.small_runs import small_data, small_run
from tests.sweep_files import write_runs, write_sweep
from tests.sweeps import rich_ledger, write_ledger
from tests.tiny_models import tiny_model

FOREIGN = (
    "COMMITTED",
    "README.md",
    "config.json",
    "manifest.json",
    "model.safetensors",
    "report.html",
    "summary.json",
    "thesis.txt",
    ".parts/mine.json",
    "checkpoints/mine.bin",
    "checkpoints/step-00000002/mine.bin",
    "model/config.json",
    "ray/mine.py",
    "raw/train.jsonl",
    "records/mine.json",
    "report/report.html",
    "tensorboard/mine",
    "tokenizer/tokenizer.json",
    "train/en-00000.arrow",
    "wandb/mine",
)
"""What others have where raykd is told to write: some with the names of its own files."""

HERE, INSIDE = "{place}", "{place}/raw/deep"

COMMANDS = {
    "export": "export {run} --output {place}",
    "export again": "export {run} --output {place} --overwrite",
    "export of a checkpoint": "export {run}/checkpoints/step-00000002 --output {place}",
    "prepare": "prepare texts.txt --output {place} --vocab-size 300 --num-processes 1",
    "prepare again": "prepare texts.txt --output {place} --vocab-size 300 --num-processes 1 "
    "--overwrite",
    "train": "train run.yaml output_uri={place}",
    "train afresh": "train run.yaml output_uri={place} --fresh",
    "train with trackers": "train run.yaml output_uri={place} tracking.tensorboard=true",
    "sweep": "sweep sweep.yaml output_uri={around} name={name}",
    "cache": "cache kd.yaml teachers.big.cache.uri={place}",
    "report": "report {sweep} --output {place}",
    "clean": "clean {place} --delete --older-than 0s",
    "doctor": "doctor storage {place}",
}

REFUSED = ("export", "prepare", "report", "sweep")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with data, a teacher, a run that is done, and the files of a sweep."""
    root = tmp_path_factory.mktemp("made")
    small_data(root / "data")
    (root / "texts.txt").write_text("".join(f"the word {i} and {i % 7}\n" for i in range(40)))
    teacher = tiny_model("bert", "masked_lm", hidden_size=16, num_heads=2, intermediate_size=32)
    save_model(teacher, root / "teacher")
    short = {"train__num_steps": 2, "train__eval_every_steps": 2}
    (root / "run.yaml").write_text(as_yaml(small_run(root, **short)))
    big = {"model": str(root / "teacher"), "cache": {"mode": "hidden"}}
    kd = small_run(root, teachers={"big": big}, losses={"forward_kl": {}}, **short)
    (root / "kd.yaml").write_text(as_yaml(kd))
    write_runs(root)
    write_sweep(root, {"search": {"losses.forward_kl.weight": {"grid": [1, 2]}}})
    write_ledger(rich_ledger(str(root / "rich")))
    assert main(["train", str(root / "run.yaml")]) == 0
    return root


@pytest.fixture
def made_here(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in that directory."""
    monkeypatch.chdir(made)
    return made


def filled(place: str) -> dict[str, bytes]:
    """Put files of others at a place, and return all that is there."""
    files = {uris.join(place, name): f"mine: {name}".encode() for name in FOREIGN}
    uris.write_many(files)
    return files


def assert_all_there(files: Mapping[str, bytes]) -> None:
    assert uris.read_many(list(files)) == files


def run_of(made: Path) -> str:
    return run_paths(load_run(made / "run.yaml", [])).run


def asked(command: str, place: str, made: Path) -> list[str]:
    around, _, name = place.rpartition("/")
    text = command.format(
        place=place, around=around, name=name, run=run_of(made), sweep=made / "rich"
    )
    return shlex.split(text)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_place_with_other_files_keeps_them(
    name: str, storage_uri: str, made_here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = f"{storage_uri}/team"
    files = filled(place)
    status = main(asked(COMMANDS[name], place, made_here))
    message = capsys.readouterr().err
    assert_all_there(files)
    assert "internal error" not in message
    if name.startswith(REFUSED):
        assert status == 2
        assert f"{place}: holds " in message
        assert " more, " in message
        assert uris.list_files(place).keys() == {each.removeprefix(f"{place}/") for each in files}
    else:
        assert status == 0


@pytest.mark.parametrize("name", [name for name in COMMANDS if name.startswith(REFUSED[:3])])
def test_a_place_that_is_a_file_keeps_it(
    name: str, storage_uri: str, made_here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = f"{storage_uri}/thesis"
    uris.write_bytes(place, b"months")
    assert main(asked(COMMANDS[name], place, made_here)) == 2
    assert f"{place}: is a file" in capsys.readouterr().err
    assert uris.read_bytes(place) == b"months"
    assert uris.list_names(storage_uri) == ["thesis"]


@pytest.mark.parametrize("name", ["export", "prepare", "report"])
def test_an_earlier_one_is_replaced_by_its_names(
    name: str, storage_uri: str, made_here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = f"{storage_uri}/team"
    again = COMMANDS.get(f"{name} again", COMMANDS[name])
    assert main(asked(COMMANDS[name], place, made_here)) == 0
    written = uris.list_files(place)
    if name == "export":
        assert main(asked(COMMANDS[name], place, made_here)) == 2
        assert f"{place}: holds a model directory already; replace it with --overwrite" in (
            capsys.readouterr().err
        )
    assert main(asked(again, place, made_here)) == 0
    assert uris.list_files(place).keys() == written.keys()
    note = uris.join(place, "notes", "mine.txt")
    uris.write_bytes(note, b"mine")
    assert main(asked(again, place, made_here)) == 2
    assert f"{place}: holds notes/mine.txt, which raykd has not" in capsys.readouterr().err
    assert uris.read_bytes(note) == b"mine"
    assert uris.list_files(place).keys() == {*written, "notes/mine.txt"}


@pytest.mark.parametrize("name", ["export again", "prepare again", "report"])
def test_what_is_of_another_kind_stays(name: str, storage_uri: str, made_here: Path) -> None:
    place = f"{storage_uri}/team"
    other = "prepare" if name != "prepare again" else "export"
    assert main(asked(COMMANDS[other], place, made_here)) == 0
    written = uris.list_files(place)
    assert main(asked(COMMANDS[name], place, made_here)) == 2
    assert uris.list_files(place) == written


ROOTS = (".", "..", "./x/..", "../", "//", "/", "~", "~/", "link", "link/", "sub/..", "$PWD", "")


@pytest.mark.parametrize("name", ["export", "export again", "prepare again", "report"])
@pytest.mark.parametrize("root", ROOTS)
def test_a_root_is_refused(
    name: str,
    root: str,
    made_here: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    work = tmp_path / "home" / "work"
    (work / "sub").mkdir(parents=True)
    (work / "link").symlink_to(work)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    command = asked(COMMANDS[name], "@", made_here)
    (work / "texts.txt").write_text("text\n")
    monkeypatch.chdir(work)
    before = sorted(tmp_path.rglob("*"))
    place = root.replace("$PWD", str(work))
    assert main([place if each == "@" else each for each in command]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"raykd: {place}: is ")
    assert "name a directory of its own" in message
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["export", "export again", "prepare again", "report"])
@pytest.mark.parametrize("root", ["", "/", "//", "/../x", "/a//b", "/./a"])
def test_a_bucket_is_refused(
    name: str, root: str, s3_uri: str, made_here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uris.write_bytes(f"{s3_uri}/other/model.bin", b"mine")
    command = asked(COMMANDS[name], "@", made_here)
    assert main([f"{s3_uri}{root}" if each == "@" else each for each in command]) == 2
    message = capsys.readouterr().err
    assert "is a whole bucket; name a directory in it" in message or "has a part" in message
    assert uris.list_files(s3_uri) == {"other/model.bin": 4}


@pytest.mark.parametrize("name", ["export", "prepare"])
def test_a_link_is_followed(name: str, made_here: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    for target in ("there", "new"):
        (tmp_path / f"link-to-{target}").symlink_to(tmp_path / "disk" / target)
    (tmp_path / "disk" / "there").mkdir()
    for target in ("there", "new"):
        link = tmp_path / f"link-to-{target}"
        for command in (COMMANDS[name], COMMANDS[f"{name} again"]):
            assert main(asked(command, str(link), made_here)) == 0
        assert link.is_symlink()
        assert (tmp_path / "disk" / target / "COMMITTED").exists()
    assert sorted(path.name for path in (tmp_path / "disk").iterdir()) == ["new", "there"]


def test_a_run_that_starts_afresh_keeps_what_others_have_put_into_it(
    storage_uri: str, made_here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = asked(COMMANDS["train"], storage_uri, made_here)
    assert main(command) == 0
    (run,) = (name for name in uris.list_names(storage_uri) if name.startswith("small-"))
    uri = uris.join(storage_uri, run)
    # None of them where a directory of raykd's is replaced whole.
    names = ("thesis.txt", "notes/a", "tensorboard/a", "wandb/a", "checkpoints/a")
    files = {uris.join(uri, name): b"mine" for name in names}
    uris.write_many(files)
    written = uris.list_files(uri)
    assert main([*command, "--fresh"]) == 0
    assert_all_there(files)
    assert uris.list_files(uri).keys() == written.keys()
    note = uris.join(uri, "model", "mine.txt")
    uris.write_bytes(note, b"mine")
    before = uris.list_files(uri)
    assert main([*command, "--fresh"]) == 2
    assert "model: holds mine.txt, which raykd has not" in capsys.readouterr().err
    assert uris.list_files(uri) == before


def test_a_run_is_not_begun_among_other_files(
    storage_uri: str, made_here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_paths(load_run(made_here / "run.yaml", [f"output_uri={storage_uri}"])).run
    files = filled(run)
    for fresh in ([], ["--fresh"]):
        assert main([*asked(COMMANDS["train"], storage_uri, made_here), *fresh]) == 2
        assert f"{run}: holds " in capsys.readouterr().err
        assert_all_there(files)
        assert len(uris.list_files(run)) == len(files)


def test_cleaning_keeps_what_only_looks_like_a_run(
    storage_uri: str, made_here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = f"{storage_uri}/project"
    files = filled(place)
    for name in (
        "run.yaml",
        "sweep.yaml",
        "tokenizer/vocab.txt",
        "data/tokenizer/a",
    ):
        files[uris.join(place, name)] = b"mine"
    uris.write_many(files)
    for uri in (storage_uri, place, f"{place}/model"):
        assert main(["clean", uri, "--delete", "--older-than", "0s"]) == 0
        assert capsys.readouterr().out == "nothing to clean\n"
    assert_all_there(files)


def test_cleaning_bears_keys_that_no_path_leads_to(
    s3_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    client = boto3.Session().client("s3")
    bucket = s3_uri.removeprefix("s3://")
    for key in ("a//.parts/x", "a/../.parts/x", "../run-0123abcd/run.yaml", "/b", "c/"):
        client.put_object(Bucket=bucket, Key=key, Body=b"mine")
        client.create_multipart_upload(Bucket=bucket, Key=f"{key}.bin")
    assert main(["clean", s3_uri, "--delete", "--older-than", "0s"]) == 0
    assert capsys.readouterr().out == "nothing to clean\n"
    assert len(client.list_objects_v2(Bucket=bucket)["Contents"]) == 5


@pytest.mark.parametrize("name", ["export", "prepare", "train"])
def test_names_that_look_like_patterns_touch_no_other(
    name: str, storage_uri: str, made_here: Path
) -> None:
    beside, place = f"{storage_uri}/layers=2", f"{storage_uri}/layers=[2,4]"
    quoted = place if name != "train" else f"\"'{place}'\""
    assert main(asked(COMMANDS[name], beside, made_here)) == 0
    before = uris.list_files(beside)
    for again in ("", " again" if name != "train" else " afresh"):
        assert main(asked(COMMANDS[f"{name}{again}"], quoted, made_here)) == 0
    assert uris.list_files(beside) == before
    files = {each.rpartition("/")[2] for each in uris.list_files(place)}
    assert files >= {each.rpartition("/")[2] for each in before if each.endswith("COMMITTED")}
