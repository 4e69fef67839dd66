"""Several processes publish one directory: it appears when all parts are there, and whole."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from raykd.errors import PublicationError, StorageError
from raykd.storage import uris
from raykd.storage.published.directory import (
    COMMITTED,
    MANIFEST,
    fetched,
    is_committed,
    read_published,
    verify,
)
from raykd.storage.published.ownership import remove
from raykd.storage.published.places import Part
from raykd.storage.published.publishing import Publication, publish_part
from raykd.storage.remote.staging import dead_staging, require_room, staging_directory


def writer(name: str, text: str) -> Callable[[Publication], None]:
    def write(publication: Publication) -> None:
        (publication.path / "inner").mkdir()
        (publication.path / "inner" / name).write_text(text)
        publication.content["from"] = name

    return write


def publish(uri: str, part: Part, write: Callable[[Publication], None]) -> None:
    publish_part(uri, kind="test", part=part, write=write, num_bytes=10)


def parts(count: int, token: str = "0a77e397") -> list[Part]:  # noqa: S107  no secret
    return [Part(index=index, count=count, token=token) for index in range(count)]


def test_a_directory_of_three_parts_has_the_files_of_all(storage_uri: str) -> None:
    uri = uris.join(storage_uri, "thing")
    with ThreadPoolExecutor(3) as threads:
        for part in parts(3):
            name = f"{part.index}.txt"
            threads.submit(publish, uri, part, writer(name, f"part {part.index}"))
    published = read_published(uri, kind="test")
    assert published.content == {"from": "0.txt"}
    assert sorted(published.files) == ["inner/0.txt", "inner/1.txt", "inner/2.txt"]
    with fetched(published) as path:
        assert (path / "inner" / "2.txt").read_text() == "part 2"
    expected = {COMMITTED, MANIFEST, *published.files}
    assert set(uris.list_files(uri)) == expected
    assert uris.list_names(storage_uri) == ["thing"]


def test_nothing_appears_before_the_last_part(storage_uri: str) -> None:
    uri = uris.join(storage_uri, "thing")
    first, second, third = parts(3)
    publish(uri, third, writer("c", "c"))
    waiting = threading.Thread(target=publish, args=(uri, first, writer("a", "a")))
    waiting.start()
    assert not is_committed(uri)
    publish(uri, second, writer("b", "b"))
    waiting.join()
    verify(read_published(uri, kind="test"))


def test_who_stops_waiting_for_a_part_leaves_nothing_committed(storage_uri: str) -> None:
    uri = uris.join(storage_uri, "thing")
    first, second, _ = parts(3)
    publish(uri, second, writer("b", "b"))
    with pytest.raises(StorageError, match="thing: worker 2 did not bring its part in"):
        publish_part(
            uri,
            kind="test",
            part=first,
            write=writer("a", "a"),
            num_bytes=10,
            should_stop=lambda: True,
        )
    assert not is_committed(uri)
    # Another attempt does better.
    publish(uri, Part(token="0e870000"), writer("new", "new"))  # noqa: S106  no secret
    assert sorted(read_published(uri, kind="test").files) == ["inner/new"]


def test_what_a_dead_attempt_left_is_not_mixed_in(storage_uri: str) -> None:
    uri = uris.join(storage_uri, "thing")
    publish(uri, parts(2, "dead0000")[1], writer("old", "old"))
    publish(uri, Part(token="a11fe000"), writer("new", "new"))  # noqa: S106  no secret
    assert sorted(read_published(uri, kind="test").files) == ["inner/new"]
    assert "inner/old" not in uris.list_files(uri)


def test_a_part_that_fails_leaves_nothing_committed(storage_uri: str) -> None:
    def fail(publication: Publication) -> None:
        (publication.path / "half").write_text("half")
        raise ZeroDivisionError

    uri = uris.join(storage_uri, "thing")
    with pytest.raises(ZeroDivisionError):
        publish(uri, Part(), fail)
    assert uris.list_names(storage_uri) == []


def test_room_is_checked_before_anything_is_written(storage_uri: str) -> None:
    uri = uris.join(storage_uri, "thing")
    with pytest.raises(StorageError, match=r"1000001\.00 GB are to be written, but .* free"):
        publish_part(
            uri, kind="test", part=Part(), write=writer("a", "a"), num_bytes=10**15 + 10**9
        )
    assert uris.list_names(storage_uri) == []


def test_room_that_is_there_is_enough(tmp_path: Path) -> None:
    require_room(tmp_path, 1)


def test_a_removed_directory_is_gone(storage_uri: str) -> None:
    uri = uris.join(storage_uri, "thing")
    publish(uri, Part(), writer("a", "a"))
    remove(uri, kind="test")
    assert not uris.exists(uri)
    remove(uri, kind="test")


def sealed(uri: str, manifest: dict[str, object]) -> None:
    text = json.dumps(manifest).encode()
    uris.write_bytes(uris.join(uri, MANIFEST), text)
    uris.write_bytes(uris.join(uri, COMMITTED), hashlib.sha256(text).hexdigest().encode())


@pytest.mark.parametrize(
    ("manifest", "complaint"),
    [
        ({"schema_version": 9, "kind": "test", "files": {}, "content": {}}, "of schema 9, but a"),
        ({"schema_version": 1, "kind": "test", "files": {}}, "is no manifest: KeyError"),
        ({"schema_version": 1, "kind": "test", "files": [1], "content": {}}, "is no manifest"),
        (
            {"schema_version": 1, "kind": "test", "files": {"a": {"bytes": 1}}, "content": {}},
            "does not say the bytes and sha256",
        ),
        (
            {
                "schema_version": 1,
                "kind": "test",
                "files": {"a": {"bytes": "1", "sha256": ""}},
                "content": {},
            },
            "does not say the bytes and sha256",
        ),
    ],
    ids=["future", "no content", "files no mapping", "no hash", "size a text"],
)
def test_a_manifest_that_is_none_is_refused(
    tmp_path: Path, manifest: dict[str, object], complaint: str
) -> None:
    uri = str(tmp_path / "thing")
    sealed(uri, manifest)
    with pytest.raises(PublicationError, match=complaint):
        read_published(uri, kind="test")


def test_the_staging_of_a_killed_process_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    code = (
        "import sys\n"
        "from raykd.storage.remote.staging import staging_directory\n"
        "with staging_directory() as path:\n"
        "    print(path, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        left = Path(process.stdout.readline().decode().strip())
        assert dead_staging() == []
        with staging_directory() as mine:
            assert left.exists()
        assert not mine.exists()
        os.kill(process.pid, signal.SIGKILL)
    assert dead_staging() == [left.parent]
    with staging_directory() as mine:
        assert not left.parent.exists()
        assert mine.exists()
    assert list(tmp_path.iterdir()) == []


def test_staging_of_which_its_killed_process_has_removed_a_part_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with staging_directory() as mine:
        name = mine.parent.name
    half, empty = tmp_path / f"{name}-half", tmp_path / f"{name}-empty"
    (half / "files" / "model").mkdir(parents=True)
    empty.mkdir()
    assert sorted(dead_staging()) == [empty, half]
    with staging_directory() as mine:
        assert list(tmp_path.iterdir()) == [mine.parent]


def test_of_many_that_stage_at_once_none_takes_another_for_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def stage(_: int) -> str:
        with staging_directory() as mine:
            (mine / "file").write_text("mine")
            return (mine / "file").read_text()

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(stage, range(400))) == {"mine"}
    assert list(tmp_path.iterdir()) == []
