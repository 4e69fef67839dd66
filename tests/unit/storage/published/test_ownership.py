"""What is raykd's at a place is what its manifest or the note of an upload names, and no more."""

import json
import os
from pathlib import Path

import pytest
from raykd.errors import PublicationError
from raykd.storage import uris
from raykd.storage.published.directory import COMMITTED, MANIFEST, is_committed, read_published
from raykd.storage.published.ownership import (
    holding,
    note_names,
    remove,
    require_own,
    require_place,
)
from raykd.storage.published.publishing import publishing


def publish(uri: str, *names: str, overwrites: bool = False, kind: str = "test") -> None:
    with publishing(uri, kind=kind, overwrites=overwrites) as publication:
        for name in names:
            path = publication.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)


@pytest.fixture
def uri(storage_uri: str) -> str:
    return uris.join(storage_uri, "thing")


def test_an_earlier_one_goes_only_where_that_is_said(uri: str) -> None:
    publish(uri, "a", "inner/b")
    with pytest.raises(PublicationError, match="thing: holds a test directory already; replace"):
        publish(uri, "a")
    publish(uri, "c", overwrites=True)
    assert set(uris.list_files(uri)) == {"c", MANIFEST, COMMITTED}


@pytest.mark.parametrize("name", ["notes.txt", "inner/notes.txt", "other/deep/notes", "[ab]"])
def test_a_file_beside_it_is_named_and_all_stays(uri: str, name: str) -> None:
    publish(uri, "a", "inner/b")
    uris.write_bytes(uris.join(uri, name), b"mine")
    before = uris.list_files(uri)
    with pytest.raises(PublicationError) as caught:
        publish(uri, "c", overwrites=True)
    assert f"thing: holds {name}, which raykd has not published there" in str(caught.value)
    assert uris.list_files(uri) == before
    remove(uri, kind="test")
    assert uris.list_files(uri) == {name: 4}


@pytest.mark.parametrize(
    "name",
    [
        "a-0123abcd/ray",
        ".a.0123abcd.partial",
        ".a.prepare-0123456789ab",
        "run-20260101_120000-a-0123abcd",
    ],
)
def test_no_name_of_a_place_gives_what_is_there_away(uri: str, name: str) -> None:
    place = uris.join(uri, name)
    uris.write_bytes(uris.join(place, "mine"), b"mine")
    with pytest.raises(PublicationError, match="holds mine, which"):
        publish(place, "a", overwrites=True)
    assert uris.list_files(place) == {"mine": 4}


def test_three_of_many_files_are_named(uri: str) -> None:
    for number in range(5):
        uris.write_bytes(uris.join(uri, f"{number}"), b"")
    with pytest.raises(PublicationError, match="thing: holds 0, 1, 2 and 2 more, which"):
        require_place(uri, kind="test", overwrites=True)


def test_one_of_another_kind_is_somebody_elses(uri: str) -> None:
    publish(uri, "a")
    with pytest.raises(PublicationError, match="thing: holds COMMITTED, a, manifest"):
        publish(uri, "a", kind="other", overwrites=True)
    assert holding(uri).own == holding(uri, kind="test").own == (COMMITTED, "a", MANIFEST)


def test_a_manifest_that_was_not_committed_so_names_nothing(uri: str) -> None:
    publish(uri, "a")
    uris.write_bytes(uris.join(uri, "notes"), b"mine")
    manifest = json.loads(uris.read_bytes(uris.join(uri, MANIFEST)))
    manifest["files"]["notes"] = manifest["files"]["a"]
    uris.write_bytes(uris.join(uri, MANIFEST), json.dumps(manifest).encode())
    assert holding(uri).own == ()


def test_what_lost_only_its_commit_is_not_replaced_unasked(uri: str) -> None:
    publish(uri, "a")
    uris.delete(uris.join(uri, COMMITTED))
    with pytest.raises(PublicationError, match="holds a test directory already"):
        publish(uri, "a")
    publish(uri, "b", overwrites=True)
    assert is_committed(uri)


def test_an_upload_that_was_cut_short_is_done_again(s3_uri: str) -> None:
    uri = f"{s3_uri}/thing"
    note_names(uri, writer="01234567-0", kind="test", names=["a", "old"])
    for name in ("a", "old"):
        uris.write_bytes(uris.join(uri, name), b"half")
    with pytest.raises(PublicationError, match="holds a, old, which"):
        publish(uri, "a", kind="other", overwrites=True)
    publish(uri, "a")
    assert set(uris.list_files(uri)) == {"a", MANIFEST, COMMITTED}


def test_a_replacement_that_was_cut_short_is_done_again(s3_uri: str) -> None:
    uri = f"{s3_uri}/thing"
    publish(uri, "old")
    note_names(uri, writer="01234567-0", kind="test", names=["new"])
    uris.write_bytes(uris.join(uri, "new"), b"half")
    uris.delete(uris.join(uri, COMMITTED))
    publish(uri, "new")
    assert set(uris.list_files(uri)) == {"new", MANIFEST, COMMITTED}


def test_an_object_that_others_have_put_into_an_upload_stays(s3_uri: str) -> None:
    uri = f"{s3_uri}/thing"
    note_names(uri, writer="01234567-0", kind="test", names=["a"])
    uris.write_many({f"{uri}/a": b"half", f"{uri}/b": b"mine"})
    with pytest.raises(PublicationError, match="thing: holds b, which"):
        publish(uri, "a")
    remove(uri)
    assert uris.list_files(uri) == {"b": 4}


def test_a_folder_of_a_disk_is_somebody_elses_where_it_is_empty(tmp_path: Path) -> None:
    publish(str(tmp_path / "thing"), "inner/a")
    (tmp_path / "thing" / "mine").mkdir()
    with pytest.raises(PublicationError, match="holds mine/, which"):
        publish(str(tmp_path / "thing"), "a", overwrites=True)
    remove(str(tmp_path / "thing"))
    assert [path.name for path in (tmp_path / "thing").iterdir()] == ["mine"]


def test_nothing_is_removed_through_a_link(tmp_path: Path) -> None:
    uri = str(tmp_path / "thing")
    publish(uri, "inner/a")
    (tmp_path / "thing" / "inner").rename(tmp_path / "elsewhere")
    (tmp_path / "thing" / "inner").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PublicationError, match="holds inner, which"):
        publish(uri, "a", overwrites=True)
    remove(uri)
    assert (tmp_path / "elsewhere" / "a").exists()
    assert (tmp_path / "thing" / "inner").is_symlink()


def test_a_torn_checkpoint_is_known_by_its_files(uri: str) -> None:
    publish(uri, "student/config.json", "optimizer/x", "state.json", kind="checkpoint")
    uris.write_bytes(uris.join(uri, MANIFEST), b"{")
    uris.write_bytes(uris.join(uri, "notes"), b"mine")
    remove(uri, kind="checkpoint")
    assert uris.list_files(uri) == {"notes": 4}


def test_a_directory_that_is_filled_file_by_file_has_a_mark(uri: str) -> None:
    require_own(uri, marks=["run.yaml"], what="run")
    uris.write_bytes(uris.join(uri, ".hidden"), b"")
    require_own(uri, marks=["run.yaml"], what="run")
    uris.write_bytes(uris.join(uri, "notes"), b"")
    with pytest.raises(PublicationError, match="thing: holds notes, and no run of raykd"):
        require_own(uri, marks=["run.yaml"], what="run")
    uris.write_bytes(uris.join(uri, "run.yaml"), b"")
    require_own(uri, marks=["run.yaml"], what="run")


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_the_umask_says_who_may_read(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        with publishing(str(tmp_path / "thing"), kind="test") as publication:
            for name, private in (("private", 0o600), ("open", 0o666)):
                (publication.path / name).touch()
                (publication.path / name).chmod(private)
            # What is copied from a temporary directory closes the directory itself.
            publication.path.chmod(0o700)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "thing").iterdir()}
    assert modes == dict.fromkeys(("private", "open", MANIFEST, COMMITTED), mode)
    read_published(str(tmp_path / "thing"), kind="test")
