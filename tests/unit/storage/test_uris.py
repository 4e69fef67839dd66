"""Published directories are whole or not there, on this machine and in an object store."""

import errno
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.ipc
import pytest
from moto.s3.exceptions import PreconditionFailed
from moto.s3.responses import S3Response
from raykd.errors import PublicationError, StorageError
from raykd.storage import uris
from raykd.storage.published.directory import COMMITTED, MANIFEST, read_published, verify
from raykd.storage.published.publishing import publishing


def publish(uri: str, text: str = "hello") -> None:
    with publishing(uri, kind="test", overwrites=True) as publication:
        (publication.path / "inner").mkdir()
        (publication.path / "inner" / "a.txt").write_text(text)
        (publication.path / "b.bin").write_bytes(b"\0" * 100)
        publication.content["answer"] = 42


def publish_half(uri: str) -> None:
    with publishing(uri, kind="test") as publication:
        (publication.path / "half").write_text("half")
        raise ZeroDivisionError


def test_published_directory_reads_back(storage_uri: str) -> None:
    uri = uris.join(storage_uri, "thing")
    publish(uri)
    published = read_published(uri, kind="test")
    verify(published)
    assert published.content == {"answer": 42}
    assert sorted(published.files) == ["b.bin", "inner/a.txt"]
    assert uris.read_bytes(uris.join(uri, "inner", "a.txt")) == b"hello"
    with uris.local_copy(uri) as path:
        assert (path / "inner" / "a.txt").read_text() == "hello"
    assert uris.list_names(storage_uri) == ["thing"]


def test_nothing_is_published_when_the_writer_fails(storage_uri: str) -> None:
    uri = uris.join(storage_uri, "thing")
    with pytest.raises(ZeroDivisionError):
        publish_half(uri)
    assert uris.list_names(storage_uri) == []


def test_publishing_again_replaces_all(storage_uri: str) -> None:
    uri = uris.join(storage_uri, "thing")
    publish(uri, "old")
    publish(uri, "new")
    assert uris.read_bytes(uris.join(uri, "inner", "a.txt")) == b"new"
    verify(read_published(uri, kind="test"))
    assert uris.list_names(storage_uri) == ["thing"]


def test_equal_content_has_one_fingerprint(storage_uri: str) -> None:
    places = [uris.join(storage_uri, name) for name in "abc"]
    for uri, text in zip(places, ["same", "same", "other"], strict=True):
        publish(uri, text)
    prints = [read_published(uri, kind="test").fingerprint for uri in places]
    assert prints[0] == prints[1] != prints[2]


def test_uncommitted_directory_is_not_there(storage_uri: str) -> None:
    uri = uris.join(storage_uri, "thing")
    publish(uri)
    uris.delete(uris.join(uri, COMMITTED))
    with pytest.raises(PublicationError, match="thing: holds no committed test directory"):
        read_published(uri, kind="test")


def test_other_kinds_are_refused(storage_uri: str) -> None:
    uri = uris.join(storage_uri, "thing")
    publish(uri)
    with pytest.raises(PublicationError, match=r"is a test directory.*a checkpoint of schema"):
        read_published(uri, kind="checkpoint")


@pytest.mark.parametrize("content", [b"hellO", b"hell"], ids=["changed", "truncated"])
def test_a_damaged_file_is_named(storage_uri: str, content: bytes) -> None:
    uri = uris.join(storage_uri, "thing")
    publish(uri)
    uris.write_bytes(uris.join(uri, "inner", "a.txt"), content)
    with pytest.raises(PublicationError, match=r"inner/a\.txt: has \d bytes.*manifest says 5"):
        verify(read_published(uri, kind="test"))


def test_a_missing_file_is_named(storage_uri: str) -> None:
    uri = uris.join(storage_uri, "thing")
    publish(uri)
    uris.delete(uris.join(uri, "b.bin"))
    with pytest.raises(PublicationError, match=r"b\.bin: (cannot be read|nothing is there)"):
        verify(read_published(uri, kind="test"))


def test_a_changed_manifest_is_refused(storage_uri: str) -> None:
    uri = uris.join(storage_uri, "thing")
    publish(uri)
    manifest = uris.join(uri, MANIFEST)
    uris.write_bytes(manifest, uris.read_bytes(manifest).replace(b"42", b"43"))
    with pytest.raises(PublicationError, match="is not the manifest that was committed"):
        read_published(uri, kind="test")


def test_arrow_reads_at_random(storage_uri: str) -> None:
    batch = pa.RecordBatch.from_pydict({"x": [1, 2, 3]})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
        writer.write_batch(batch.slice(1))
    uri = uris.join(storage_uri, "x.arrow")
    uris.write_bytes(uri, sink.getvalue().to_pybytes())
    with uris.open_arrow(uri) as source:
        assert pa.ipc.open_file(source).get_batch(1).to_pydict() == {"x": [2, 3]}


def test_missing_files_and_listings(storage_uri: str) -> None:
    assert uris.list_names(uris.join(storage_uri, "nowhere")) == []
    assert not uris.exists(uris.join(storage_uri, "nowhere"))
    with pytest.raises(FileNotFoundError, match="nowhere: nothing is there"):
        uris.read_bytes(uris.join(storage_uri, "nowhere"))
    uris.delete(uris.join(storage_uri, "nowhere"))


def test_unknown_schemes_and_missing_buckets_name_the_uri(s3_uri: str) -> None:
    with pytest.raises(StorageError, match="nosuch://x: ValueError: Protocol not known"):
        uris.exists("nosuch://x")
    with pytest.raises((StorageError, FileNotFoundError), match="s3://raykd-no-such-bucket/x"):
        uris.write_bytes("s3://raykd-no-such-bucket/x", b"")


def test_only_paths_become_absolute() -> None:
    assert uris.absolute("s3://bucket/key") == "s3://bucket/key"
    assert uris.absolute("runs").startswith("/")
    # Shells leave ~ alone in output_uri=~/runs.
    assert uris.absolute("~/runs") == str(Path.home() / "runs")


def test_what_another_process_has_written_since_a_listing_is_read(s3_uri: str) -> None:
    uri = uris.join(s3_uri, "inner", "new")
    uris.write_bytes(uris.join(s3_uri, "inner", "old"), b"")
    assert uris.list_names(uris.join(s3_uri, "inner")) == ["old"]
    s3 = boto3.Session().client("s3")
    s3.put_object(Bucket=s3_uri.removeprefix("s3://"), Key="inner/new", Body=b"x")
    assert not uris.create_bytes(uri, b"y")
    assert uris.read_bytes(uri) == b"x"


@pytest.fixture
def atomic_puts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the test's server look and write in one step, as S3 does."""
    lock, put = threading.Lock(), S3Response.put_object

    def put_alone(response: S3Response) -> Any:
        with lock:
            return put(response)

    monkeypatch.setattr(S3Response, "put_object", put_alone)


def test_one_of_many_writers_creates(storage_uri: str, atomic_puts: None) -> None:
    uri = uris.join(storage_uri, "inner", "thing")
    together = threading.Barrier(16)

    def create(number: int) -> bool:
        together.wait()
        return uris.create_bytes(uri, str(number).encode())

    with ThreadPoolExecutor(16) as pool:
        created = list(pool.map(create, range(16)))
    assert created.count(True) == 1
    assert uris.read_bytes(uri) == str(created.index(True)).encode()
    assert uris.list_names(uris.join(storage_uri, "inner")) == ["thing"]


def test_what_is_there_stays(storage_uri: str) -> None:
    uri = uris.join(storage_uri, "thing")
    uris.write_bytes(uri, b"old")
    assert not uris.create_bytes(uri, b"new")
    assert uris.read_bytes(uri) == b"old"
    uris.delete(uri)
    assert uris.create_bytes(uri, b"new")
    assert uris.read_bytes(uri) == b"new"


@pytest.fixture
def answers_of_puts(monkeypatch: pytest.MonkeyPatch) -> Callable[[Iterator[Any]], None]:
    """Let the test's server give these answers; at None, it does what it is asked."""
    put = S3Response.put_object

    def set_answers(answers: Iterator[Any]) -> None:
        monkeypatch.setattr(S3Response, "put_object", lambda r: next(answers) or put(r))

    return set_answers


CONFLICT: Any = (409, {}, "<Error><Code>ConditionalRequestConflict</Code></Error>")


def test_a_conflict_of_requests_is_no_answer(
    s3_uri: str, answers_of_puts: Callable[[Iterator[Any]], None]
) -> None:
    uri = uris.join(s3_uri, "thing")
    answers_of_puts(chain([CONFLICT, CONFLICT], repeat(None)))
    assert uris.create_bytes(uri, b"x")
    answers_of_puts(chain([CONFLICT], repeat(None)))
    assert not uris.create_bytes(uri, b"y")
    answers_of_puts(repeat(CONFLICT))
    with pytest.raises(StorageError, match="thing: OSError"):
        uris.create_bytes(uri, b"z")


def test_a_server_need_not_name_the_condition_that_failed(
    s3_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(response: S3Response) -> Any:
        raise PreconditionFailed(failed_condition="")

    monkeypatch.setattr(S3Response, "put_object", refuse)
    assert not uris.create_bytes(uris.join(s3_uri, "thing"), b"x")


def test_creating_is_exclusive_without_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    uri = str(tmp_path / "thing")
    assert [uris.create_bytes(uri, content) for content in (b"x", b"y")] == [True, False]
    assert uris.read_bytes(uri) == b"x"
    assert uris.list_names(str(tmp_path)) == ["thing"]


def test_a_failure_to_create_is_named(tmp_path: Path, s3_uri: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="file/thing: "):
        uris.create_bytes(str(tmp_path / "file" / "thing"), b"")
    with pytest.raises(
        StorageError, match="s3://raykd-no-such-bucket/x: the bucket does not exist"
    ):
        uris.create_bytes("s3://raykd-no-such-bucket/x", b"")
