"""Published directories are whole or not there, on this machine and in an object store."""

from pathlib import Path

import pyarrow as pa
import pyarrow.ipc
import pytest
from raykd import storage
from raykd.errors import PublicationError, StorageError


def publish(uri: str, text: str = "hello") -> None:
    with storage.publishing(uri, kind="test") as publication:
        (publication.path / "inner").mkdir()
        (publication.path / "inner" / "a.txt").write_text(text)
        (publication.path / "b.bin").write_bytes(b"\0" * 100)
        publication.content["answer"] = 42


def publish_half(uri: str) -> None:
    with storage.publishing(uri, kind="test") as publication:
        (publication.path / "half").write_text("half")
        raise ZeroDivisionError


def test_published_directory_reads_back(storage_uri: str) -> None:
    uri = storage.join(storage_uri, "thing")
    publish(uri)
    published = storage.read_published(uri, kind="test")
    storage.verify(published)
    assert published.content == {"answer": 42}
    assert sorted(published.files) == ["b.bin", "inner/a.txt"]
    assert storage.read_bytes(storage.join(uri, "inner", "a.txt")) == b"hello"
    with storage.local_copy(uri) as path:
        assert (path / "inner" / "a.txt").read_text() == "hello"
    assert storage.list_names(storage_uri) == ["thing"]


def test_nothing_is_published_when_the_writer_fails(storage_uri: str) -> None:
    uri = storage.join(storage_uri, "thing")
    with pytest.raises(ZeroDivisionError):
        publish_half(uri)
    assert storage.list_names(storage_uri) == []


def test_publishing_again_replaces_all(storage_uri: str) -> None:
    uri = storage.join(storage_uri, "thing")
    publish(uri, "old")
    publish(uri, "new")
    assert storage.read_bytes(storage.join(uri, "inner", "a.txt")) == b"new"
    storage.verify(storage.read_published(uri, kind="test"))
    assert storage.list_names(storage_uri) == ["thing"]


def test_equal_content_has_one_fingerprint(storage_uri: str) -> None:
    uris = [storage.join(storage_uri, name) for name in "abc"]
    for uri, text in zip(uris, ["same", "same", "other"], strict=True):
        publish(uri, text)
    prints = [storage.read_published(uri, kind="test").fingerprint for uri in uris]
    assert prints[0] == prints[1] != prints[2]


def test_uncommitted_directory_is_not_there(storage_uri: str) -> None:
    uri = storage.join(storage_uri, "thing")
    publish(uri)
    storage.delete(storage.join(uri, storage.COMMITTED))
    with pytest.raises(PublicationError, match="thing: holds no committed test directory"):
        storage.read_published(uri, kind="test")


def test_other_kinds_are_refused(storage_uri: str) -> None:
    uri = storage.join(storage_uri, "thing")
    publish(uri)
    with pytest.raises(PublicationError, match=r"is a test directory.*a checkpoint of schema"):
        storage.read_published(uri, kind="checkpoint")


@pytest.mark.parametrize("content", [b"hellO", b"hell"], ids=["changed", "truncated"])
def test_a_damaged_file_is_named(storage_uri: str, content: bytes) -> None:
    uri = storage.join(storage_uri, "thing")
    publish(uri)
    storage.write_bytes(storage.join(uri, "inner", "a.txt"), content)
    with pytest.raises(PublicationError, match=r"inner/a\.txt: has \d bytes.*manifest says 5"):
        storage.verify(storage.read_published(uri, kind="test"))


def test_a_missing_file_is_named(storage_uri: str) -> None:
    uri = storage.join(storage_uri, "thing")
    publish(uri)
    storage.delete(storage.join(uri, "b.bin"))
    with pytest.raises(PublicationError, match=r"b\.bin: cannot be read"):
        storage.verify(storage.read_published(uri, kind="test"))


def test_a_changed_manifest_is_refused(storage_uri: str) -> None:
    uri = storage.join(storage_uri, "thing")
    publish(uri)
    manifest = storage.join(uri, storage.MANIFEST)
    storage.write_bytes(manifest, storage.read_bytes(manifest).replace(b"42", b"43"))
    with pytest.raises(PublicationError, match="is not the manifest that was committed"):
        storage.read_published(uri, kind="test")


def test_arrow_reads_at_random(storage_uri: str) -> None:
    batch = pa.RecordBatch.from_pydict({"x": [1, 2, 3]})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
        writer.write_batch(batch.slice(1))
    uri = storage.join(storage_uri, "x.arrow")
    storage.write_bytes(uri, sink.getvalue().to_pybytes())
    with storage.open_arrow(uri) as source:
        assert pa.ipc.open_file(source).get_batch(1).to_pydict() == {"x": [2, 3]}


def test_missing_files_and_listings(storage_uri: str) -> None:
    assert storage.list_names(storage.join(storage_uri, "nowhere")) == []
    assert not storage.exists(storage.join(storage_uri, "nowhere"))
    with pytest.raises(FileNotFoundError, match="nowhere: nothing is there"):
        storage.read_bytes(storage.join(storage_uri, "nowhere"))
    storage.delete(storage.join(storage_uri, "nowhere"))


def test_unknown_schemes_and_missing_buckets_name_the_uri(s3_uri: str) -> None:
    with pytest.raises(StorageError, match="nosuch://x: ValueError: Protocol not known"):
        storage.exists("nosuch://x")
    with pytest.raises((StorageError, FileNotFoundError), match="s3://raykd-no-such-bucket/x"):
        storage.write_bytes("s3://raykd-no-such-bucket/x", b"")


def test_only_paths_become_absolute() -> None:
    assert storage.absolute("s3://bucket/key") == "s3://bucket/key"
    assert storage.absolute("runs").startswith("/")
    # Shells leave ~ alone in output_uri=~/runs.
    assert storage.absolute("~/runs") == str(Path.home() / "runs")
