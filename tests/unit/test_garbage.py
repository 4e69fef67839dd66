"""What killed writers leave is found and removed; what lives, or is somebody else's, is not."""

import os
import time
import uuid
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import boto3
import pytest
from raykd.errors import ConfigError
from raykd.garbage import find_garbage, remove_garbage
from raykd.storage import uris
from raykd.storage.leases.lease import held_lease
from raykd.storage.leases.records import candidate_uri, successor_uri, write_lease
from raykd.storage.published.directory import COMMITTED, is_committed
from raykd.storage.published.garbage import Garbage, left_on_this_machine
from raykd.storage.published.ownership import note_names
from raykd.storage.published.publishing import publishing
from raykd.storage.remote.probe import PREFIX
from raykd.storage.remote.uploads import pending_uploads
from raykd.teachers.cache.building import Watch

from tests.conftest import FaultyS3
from tests.unit.cached_teachers.caches import LOGITS, subject
from tests.unit.storage.leases.test_lease import dead_process_id, lease
from tests.unit.storage.published.killed_writer import write
from tests.unit.storage.published.killing import (
    CHECKPOINT,
    killed_while_uploading,
    killed_while_writing,
    run_at,
    temporary,
)

__all__ = ["temporary"]

HOUR = 3_600.0


def found_at(uri: str, *, older_than: float = 0.0, with_prepare: bool = False) -> list[Garbage]:
    return find_garbage(uri, older_than_seconds=older_than, with_prepare=with_prepare)


def names(found: Iterable[Garbage], uri: str) -> list[tuple[str, str]]:
    return sorted((each.what, each.uri.removeprefix(f"{uri}/")) for each in found)


def publish(uri: str, kind: str) -> str:
    with publishing(uri, kind=kind) as publication:
        write(publication.path, kind, 10)
    return uri


def aged(path: Path, seconds: float) -> None:
    for each in (path, *path.rglob("*")):
        os.utime(each, (time.time() - seconds,) * 2)


def test_a_folder_of_a_killed_publication_goes(tmp_path: Path) -> None:
    uri = str(tmp_path)
    publish(f"{uri}/data", "data")
    killed_while_writing(f"{uri}/data", "data")
    killed_while_writing(f"{run_at(f'{uri}/run-0123abcd')}/{CHECKPOINT}", "checkpoint")
    found = found_at(uri)
    assert [what for what, _ in names(found, uri)] == ["partial", "partial"]
    assert [each.num_bytes for each in found] == [1_002, 1_002]
    assert list(remove_garbage(found)) == found
    assert uris.list_names(uri) == ["data", "run-0123abcd"]
    assert uris.list_names(f"{uri}/run-0123abcd") == ["checkpoints", "run.yaml"]
    assert uris.list_names(f"{uri}/run-0123abcd/checkpoints") == []
    assert is_committed(f"{uri}/data")
    assert found_at(uri) == []


@pytest.mark.parametrize("folder", ["whole", "replaced"])
def test_the_only_copy_of_a_committed_directory_stays(tmp_path: Path, folder: str) -> None:
    target = publish(str(tmp_path / "data"), "data")
    aside = tmp_path / ".data.01234567.partial"
    aside.mkdir()
    Path(target).rename(aside / folder)
    assert found_at(str(tmp_path)) == []
    publish(target, "data")
    assert names(found_at(str(tmp_path)), str(tmp_path)) == [("partial", aside.name)]


def test_an_upload_that_was_killed_goes(faulty_s3: FaultyS3, temporary: Path) -> None:
    data, run = f"{faulty_s3.uri}/data", run_at(f"{faulty_s3.uri}/runs/a-0123abcd")
    publish(f"{run}/checkpoints/step-00000005", "checkpoint")
    for uri, kind, file in (
        (data, "data", "arrow"),
        (f"{run}/{CHECKPOINT}", "checkpoint", "model.safetensors"),
    ):
        killed_while_uploading(faulty_s3, uri, kind, on=f"PutObject .*{file}", num_bytes=1_000)
    found = found_at(faulty_s3.uri)
    expected = [("partial", "data"), ("partial", f"runs/a-0123abcd/{CHECKPOINT}")]
    assert names(found, faulty_s3.uri) == expected
    assert names(found_at(run), faulty_s3.uri) == expected[1:]
    assert names(found_at(f"{run}/{CHECKPOINT}"), faulty_s3.uri) == expected[1:]
    assert names(found_at(data), faulty_s3.uri) == expected[:1]
    # The second writer has removed what the first one had on its way.
    (staging,) = left_on_this_machine(with_prepare=False)
    assert staging.what == "staging"
    assert len(list(remove_garbage([*found, staging]))) == 3
    assert found_at(faulty_s3.uri) == []
    assert sorted(uris.list_files(faulty_s3.uri)) == [
        f"runs/a-0123abcd/checkpoints/step-00000005/{name}"
        for name in (
            COMMITTED,
            "manifest.json",
            "student/config.json",
            "student/model.safetensors",
        )
    ] + ["runs/a-0123abcd/run.yaml"]
    assert list(temporary.iterdir()) == []


def test_parts_of_a_file_that_was_never_whole_go(faulty_s3: FaultyS3, temporary: Path) -> None:
    uri = f"{faulty_s3.uri}/models/student"
    killed_while_uploading(
        faulty_s3, uri, "checkpoint", on="UploadPart .*partNumber=3", num_bytes=40 << 20
    )
    found, *rest = sorted(found_at(faulty_s3.uri), key=lambda each: each.what == "partial")
    assert (found.what, found.uri) == ("upload", f"{uri}/student/model.safetensors")
    assert [(each.what, each.uri) for each in rest] == [("partial", uri)]
    assert 0 <= found.num_bytes <= 40 << 20
    assert abs(time.time() - found.modified_at) < HOUR
    assert found_at(f"{faulty_s3.uri}/models/stud") == []
    assert found_at(faulty_s3.uri, older_than=HOUR) == []
    assert list(remove_garbage([found, *rest])) == [found, *rest]
    assert pending_uploads(faulty_s3.uri) == []
    assert uris.list_files(faulty_s3.uri) == {}


def test_parts_of_files_go_on_another_server_and_those_of_others_stay(s3_uri: str) -> None:
    run_at(f"{s3_uri}/a-0123abcd")
    note_names(f"{s3_uri}/b", writer="01234567-0", kind="data", names=["train/x"])
    client = boto3.Session().client("s3")
    bucket = s3_uri.removeprefix("s3://")
    for key in ("a-0123abcd/log.txt", "b/train/x", "b/train/y", "c"):
        upload = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        client.upload_part(Bucket=bucket, Key=key, PartNumber=1, UploadId=upload, Body=b"12345")
    assert [upload.num_bytes for upload in pending_uploads(s3_uri)] == [5] * 4
    (found,) = found_at(f"{s3_uri}/a-0123abcd")
    list(remove_garbage([found]))
    list(remove_garbage(each for each in found_at(s3_uri) if each.what == "upload"))
    left = {upload.uri for upload in pending_uploads(s3_uri)}
    assert left == {f"{s3_uri}/b/train/y", f"{s3_uri}/c"}


def spoiled_run(uri: str) -> list[tuple[str, str]]:
    """Leave one of each in a run; return what is to be found."""
    run_at(uri)
    aside = f".result.json.{uuid.uuid4().hex}"
    spoiled = {
        ("file", aside): aside,
        ("ray", "ray"): "ray/x/experiment_state.json",
        ("partial", CHECKPOINT): f"{CHECKPOINT}/.parts/01234567-10-1.json",
        ("checkpoint", "checkpoints/step-00000020"): "checkpoints/step-00000020/state.json",
        ("probe", f"{PREFIX}{'0' * 32}"): f"{PREFIX}{'0' * 32}",
    }
    for path in spoiled.values():
        uris.write_bytes(uris.join(uri, path), b"12345")
    return sorted(spoiled)


def test_what_a_dead_run_has_left_goes_and_the_rest_stays(storage_uri: str) -> None:
    uri = uris.join(storage_uri, "run-0123abcd")
    expected = spoiled_run(uri)
    kept = ["metrics.jsonl", "notes.txt", "checkpoints/step-5/x", "checkpoints/notes", ".x.0123"]
    kept += ["metrics.parts/000000000000-000000000005.jsonl"]
    for name in kept:
        uris.write_bytes(uris.join(uri, name), b"12345")
    dead = lease(process_id=dead_process_id(), workers=False)
    first, second, third = (replace(dead, holder=digit * 32) for digit in "abc")
    write_lease(f"{uri}/lease.json", first)
    write_lease(successor_uri(f"{uri}/lease.json", first), second)
    write_lease(candidate_uri(f"{uri}/lease.json", third), third)
    files = ["lease.json", f"lease.json.after.{'a' * 32}", f"lease.json.wants.{'c' * 32}"]
    expected += [("lease", file) for file in files]
    found = found_at(storage_uri)
    assert names(found, uri) == sorted(expected)
    assert {each.num_bytes for each in found if each.what != "lease"} == {5}
    assert len(list(remove_garbage(found))) == len(found)
    assert sorted(uris.list_files(uri)) == sorted([*kept, "run.yaml"])
    assert found_at(storage_uri) == []


def test_a_live_run_is_left_alone(storage_uri: str) -> None:
    uri = uris.join(storage_uri, "run-0123abcd")
    spoiled_run(uri)
    before = found_at(storage_uri)
    with held_lease(f"{uri}/lease.json", has_workers=False):
        assert found_at(storage_uri) == found_at(f"{uri}/checkpoints") == []
        files = uris.list_files(uri)
        # A driver that has started since the search.
        assert list(remove_garbage(before)) == []
        assert uris.list_files(uri).keys() == files.keys()
    assert found_at(storage_uri) == before


def test_a_sweep_whose_lease_cannot_be_read_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text("x: 1")
    (tmp_path / "index.json").write_text("{}")
    (tmp_path / f".index.json.{uuid.uuid4().hex}").write_text("")
    (tmp_path / "lease.json").write_text("{")
    assert found_at(str(tmp_path)) == []
    (tmp_path / "lease.json").unlink()
    assert [each.what for each in found_at(str(tmp_path))] == ["file"]


def test_what_is_young_stays(tmp_path: Path) -> None:
    uri = str(tmp_path / "run-0123abcd")
    spoiled = spoiled_run(uri)
    assert found_at(uri, older_than=HOUR) == []
    aged(tmp_path, 2 * HOUR)
    assert len(found_at(uri, older_than=HOUR)) == len(spoiled)
    assert found_at(uri, older_than=3 * HOUR) == []
    # Its newest file counts.
    os.utime(tmp_path / "run-0123abcd" / "checkpoints" / "step-00000020" / "state.json")
    assert len(found_at(uri, older_than=HOUR)) == len(spoiled) - 1


def test_what_has_changed_since_it_was_found_stays(storage_uri: str) -> None:
    uri = uris.join(storage_uri, "run-0123abcd")
    spoiled_run(uri)
    found = found_at(uri)
    publish(f"{uri}/{CHECKPOINT}", "checkpoint")
    removed = [each.what for each in remove_garbage(found)]
    assert sorted(removed) == ["checkpoint", "file", "probe", "ray"]
    assert is_committed(f"{uri}/{CHECKPOINT}")


def test_work_of_prepare_goes_only_where_it_is_asked_for(tmp_path: Path, temporary: Path) -> None:
    for folder in (
        tmp_path / ".data.prepare-0123456789ab",
        temporary / f"raykd-prepare-{'01' * 6}-{'23' * 6}",
    ):
        folder.mkdir()
        (folder / "000000.arrow").write_text("x")
    assert found_at(str(tmp_path)) == list(left_on_this_machine(with_prepare=False)) == []
    (found,) = found_at(str(tmp_path), with_prepare=True)
    (here,) = left_on_this_machine(with_prepare=True)
    assert (found.what, here.what) == ("prepare", "prepare")
    assert len(list(remove_garbage([found, here]))) == 2
    assert list(tmp_path.iterdir()) == [temporary]
    assert list(temporary.iterdir()) == []


def test_work_of_prepare_in_a_store_is_found(s3_uri: str) -> None:
    work = f"{s3_uri}/.data.prepare-0123456789ab"
    for name in ("survey.json", "tokenizer/tokenizer.json", "000000-000000.arrow"):
        uris.write_bytes(f"{work}/{name}", b"x")
    assert found_at(s3_uri) == []
    (found,) = found_at(s3_uri, with_prepare=True)
    assert (found.what, found.uri, found.num_bytes) == ("prepare", work, 3)
    assert list(remove_garbage([found])) == [found]
    assert uris.list_names(s3_uri) == []


@pytest.mark.parametrize(
    "names_there",
    [
        ["train/en-00000.arrow"],
        ["tokenizer/tokenizer.json", "train/en-00000.arrow", "notes.txt"],
        ["tokenizer/tokenizer.json", "train/data-00000-of-00001.arrow", "state.json"],
        ["config.json", "model.safetensors"],
        ["model/config.json", "checkpoints/step-00000010/state.json", "ray/x"],
    ],
    ids=["shards alone", "with notes", "of another library", "a model", "no run"],
)
def test_what_others_have_written_stays(storage_uri: str, names_there: list[str]) -> None:
    for name in names_there:
        uris.write_bytes(uris.join(storage_uri, "x", name), b"12345")
    assert found_at(storage_uri) == []


def test_links_lead_nowhere(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    spoiled_run(str(elsewhere))
    (here := tmp_path / "here").mkdir()
    (here / "link").symlink_to(elsewhere)
    (here / "loop").symlink_to(here)
    assert found_at(str(here)) == []


def test_a_place_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere: nothing is there"):
        found_at(str(tmp_path / "nowhere"))


def test_what_dead_builders_leave_in_a_cache_goes(storage_uri: str, tmp_path: Path) -> None:
    of, uri = subject(tmp_path / "data"), f"{storage_uri}/cache/0123456789abcdef"
    asked = iter([False, False, True])
    of.build(uri, LOGITS, Watch(should_stop=lambda: next(asked)))
    # Parts with a note are kept: the same command goes on after them.
    assert found_at(storage_uri) == []
    where = f"{uri}/records/0/train/en-00000"
    unnoted = f"{where}/000000030-000000040.{'1' * 12}.arrow"
    aside = f"{where}/.000000030-000000040.{uuid.uuid4().hex}"
    for each in (unnoted, aside, f"{uri}/index-00000/.parts/01234567-0.json"):
        uris.write_bytes(each, b"half")
    with held_lease(f"{uri}/lease.json", has_workers=False):
        assert found_at(storage_uri) == []
    found = found_at(storage_uri)
    assert names(found, uri) == [
        ("file", aside.removeprefix(f"{uri}/")),
        ("partial", "index-00000"),
        ("records", unnoted.removeprefix(f"{uri}/")),
    ]
    assert found_at(uri) == found
    assert len(list(remove_garbage(found))) == 3
    assert of.build(uri, LOGITS).is_whole
    # Two have written the same part; the index names one of the files.
    kept = next(each for each in uris.list_names(where) if each.startswith("000000000-"))
    other = f"{where}/{kept.partition('.')[0]}.{'2' * 12}.arrow"
    uris.write_bytes(other, b"twice")
    assert [each.uri for each in found_at(storage_uri)] == [other]


def test_a_bucket_with_the_name_of_a_cache_is_none(s3_uri: str) -> None:
    name = uuid.uuid4().hex[:16]
    boto3.Session().client("s3").create_bucket(Bucket=name)
    run = run_at(f"s3://{name}/run-0123abcd")
    uris.write_bytes(f"{run}/{CHECKPOINT}/state.json", b"half")
    expected = [("checkpoint", f"run-0123abcd/{CHECKPOINT}")]
    assert names(found_at(f"s3://{name}"), f"s3://{name}") == expected
