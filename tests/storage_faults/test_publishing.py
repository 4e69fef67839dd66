"""Published directories on a store that is disturbed, and by writers that are killed."""

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from raykd.errors import PublicationError, StorageDeniedError, StorageError
from raykd.storage import uris
from raykd.storage.published.directory import COMMITTED, MANIFEST, fetched, read_published, verify
from raykd.storage.published.places import Part
from raykd.storage.published.publishing import Publication, publish_part, publishing

from tests.conftest import FaultyS3
from tests.servers.faults import (
    DENIED,
    INTERNAL_ERROR,
    SLOW_DOWN,
    Fault,
    Hold,
    Lost,
    Reset,
    Shortened,
)
from tests.storage_faults.stores import PART_BYTES, stored_names

KIND = "checkpoint"


def publish(uri: str, content: bytes = b"whole" * 1000) -> None:
    with uris.retry_for(20), publishing(uri, kind=KIND, overwrites=True) as publication:
        (publication.path / "inner").mkdir()
        (publication.path / "inner" / "a").write_bytes(content)
        (publication.path / "b").write_bytes(b"b")
        publication.content["step"] = len(content)


def assert_whole(uri: str, content: bytes = b"whole" * 1000) -> None:
    published = read_published(uri, kind=KIND)
    assert published.content == {"step": len(content)}
    with fetched(published) as path:
        assert (path / "inner" / "a").read_bytes() == content


FAULTS: list[tuple[str, Fault]] = [
    ("PutObject .*/inner/a", Lost()),
    ("PutObject .*manifest", Reset(after_share=0.5)),
    ("PutObject .*COMMITTED", Lost()),
    ("PutObject .*COMMITTED", INTERNAL_ERROR),
    ("HeadObject .*/b", SLOW_DOWN),
    ("ListObjects", Reset()),
    ("DeleteObject", Lost()),
]


@pytest.mark.parametrize(("on", "fault"), FAULTS, ids=str)
def test_publishing_again_survives_what_passes(on: str, fault: Fault, faulty_s3: FaultyS3) -> None:
    uri = f"{faulty_s3.uri}/thing"
    publish(uri, b"old")
    faulty_s3.proxy.inject(fault, on=on)
    publish(uri)
    assert faulty_s3.proxy.count(faulty=True) == 1
    assert_whole(uri)
    assert stored_names(faulty_s3) == [
        f"thing/{name}" for name in (COMMITTED, "b", "inner/a", MANIFEST)
    ]


READ_FAULTS: list[tuple[str, Fault]] = [
    ("GetObject .*COMMITTED", Reset()),
    ("GetObject .*manifest", SLOW_DOWN),
    ("GetObject .*inner/a", Shortened()),
    ("HeadObject .*inner/a", INTERNAL_ERROR),
]


@pytest.mark.parametrize(("on", "fault"), READ_FAULTS, ids=str)
def test_reading_survives_what_passes(on: str, fault: Fault, faulty_s3: FaultyS3) -> None:
    uri = f"{faulty_s3.uri}/thing"
    publish(uri)
    faulty_s3.proxy.inject(fault, on=on)
    with uris.retry_for(20):
        assert_whole(uri)
    assert faulty_s3.proxy.count(faulty=True) == 1


@pytest.mark.parametrize("name", [MANIFEST, COMMITTED])
def test_a_shortened_manifest_or_commit_never_passes(name: str, faulty_s3: FaultyS3) -> None:
    uri = f"{faulty_s3.uri}/thing"
    publish(uri)
    faulty_s3.proxy.inject(Shortened(), on=f"GetObject .*{name}")
    with pytest.raises(PublicationError, match="is not the manifest that was committed"):
        read_published(uri, kind=KIND)


def test_a_denied_file_leaves_nothing_committed(faulty_s3: FaultyS3) -> None:
    uri = f"{faulty_s3.uri}/thing"
    faulty_s3.proxy.inject(DENIED, on="PutObject .*thing/b")
    with pytest.raises(StorageDeniedError, match="thing/b: access is denied"):
        publish(uri)
    with pytest.raises(PublicationError, match="holds no committed checkpoint directory"):
        read_published(uri, kind=KIND)


def test_a_store_that_fails_while_it_is_read_says_nothing_about_the_directory(
    faulty_s3: FaultyS3,
) -> None:
    uri = f"{faulty_s3.uri}/thing"
    publish(uri)
    published = read_published(uri, kind=KIND)
    faulty_s3.proxy.inject(DENIED, on="inner/a", times=None)
    with pytest.raises(StorageDeniedError, match="thing/inner/a: access is denied"):
        verify(published)
    with faulty_s3.proxy.outage(), uris.retry_for(0.5):
        with pytest.raises(StorageError, match="cannot be reached"):
            read_published(uri, kind=KIND)
        with pytest.raises(StorageError, match="cannot be reached"):
            verify(published)


@pytest.mark.slow
def test_a_reader_at_any_request_of_a_writer_sees_all_of_one_or_nothing(
    faulty_s3: FaultyS3,
) -> None:
    uri = f"{faulty_s3.uri}/thing"
    publish(uri, b"old")
    faulty_s3.proxy.forget()
    publish(uri, b"old")
    requests = [r.line for r in faulty_s3.proxy.requests]
    seen = []
    for line in [line for line in requests if line.startswith(("Put", "Delete"))]:
        # Each writer has a token of its own in the names of its notes.
        on = re.sub(r"[0-9a-f]{8}(?=\\-0)", "[0-9a-f]{8}", re.escape(line))
        faulty_s3.proxy.inject(hold := Hold(), on=on)
        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(publish, uri, b"new content")
            assert hold.reached.wait(60)
            seen.append(read_step(uri))
            hold.released.set()
            writing.result()
        assert read_step(uri) == len(b"new content")
        publish(uri, b"old")
    # The last requests remove the notes of the writer, when all is there.
    assert set(seen) == {len(b"old"), len(b"new content"), None}


def read_step(uri: str) -> int | None:
    """Return what a reader finds, None where it finds nothing whole."""
    try:
        published = read_published(uri, kind=KIND)
        verify(published)
    except PublicationError:
        return None
    return int(published.content["step"])


WRITER = """
import sys
from raykd.storage.published.publishing import publishing
with publishing(sys.argv[1], kind="checkpoint", overwrites=True) as publication:
    (publication.path / "a").write_bytes(bytes(int(sys.argv[2])))
    (publication.path / "b").write_bytes(b"b")
"""


@pytest.mark.parametrize(
    ("num_bytes", "on"),
    [
        (5000, "PutObject .*COMMITTED"),
        pytest.param(5000, "PutObject .*/b$", marks=pytest.mark.slow),
        pytest.param(2 * PART_BYTES, "UploadPart.*partNumber=2", marks=pytest.mark.slow),
    ],
)
def test_a_writer_killed_in_the_middle_has_published_nothing(
    num_bytes: int, on: str, faulty_s3: FaultyS3
) -> None:
    uri = f"{faulty_s3.uri}/thing"
    faulty_s3.proxy.inject(hold := Hold(), on=on)
    with subprocess.Popen([sys.executable, "-c", WRITER, uri, str(num_bytes)]) as writer:
        try:
            assert hold.reached.wait(60)
        finally:
            writer.kill()
    assert faulty_s3.proxy.count("PutObject .*COMMITTED", faulty=False) == 0
    assert read_step(uri) is None
    publish(uri)
    assert_whole(uri)


def write_part(index: int) -> bytes:
    return f"part {index}".encode() * 1000


def publish_parts(uri: str, count: int, token: str) -> None:
    def one(index: int) -> None:
        def write(publication: Publication) -> None:
            (publication.path / f"{index}.bin").write_bytes(write_part(index))
            publication.content["parts"] = count

        part = Part(index=index, count=count, token=token)
        with uris.retry_for(20):
            publish_part(uri, kind=KIND, part=part, write=write, num_bytes=1000)

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(one, range(count)))


def test_parts_of_several_writers_are_one_directory_though_requests_fail(
    faulty_s3: FaultyS3,
) -> None:
    uri = f"{faulty_s3.uri}/thing"
    publish(uri, b"old")
    for fault in (SLOW_DOWN, Reset(), Lost(), INTERNAL_ERROR):
        faulty_s3.proxy.inject(fault, times=3, probability=0.3)
    publish_parts(uri, 3, "one")
    assert faulty_s3.proxy.count(faulty=True) > 3
    faulty_s3.proxy.heal()
    published = read_published(uri, kind=KIND)
    with fetched(published) as path:
        for index in range(3):
            assert (path / f"{index}.bin").read_bytes() == write_part(index)
    assert stored_names(faulty_s3) == [
        f"thing/{name}" for name in ("0.bin", "1.bin", "2.bin", COMMITTED, MANIFEST)
    ]


def test_parts_of_an_attempt_that_died_are_not_taken_for_those_of_the_next(
    faulty_s3: FaultyS3,
) -> None:
    uri = f"{faulty_s3.uri}/thing"
    wrong = {"1.bin": {"bytes": 1, "sha256": "of another attempt"}}
    uris.write_bytes(f"{uri}/.parts/dead-1.json", json.dumps(wrong).encode())
    publish_parts(uri, 2, "alive")
    verify(read_published(uri, kind=KIND))
    assert "thing/.parts/dead-1.json" not in stored_names(faulty_s3)


def test_a_changed_byte_in_the_store_is_found(faulty_s3: FaultyS3) -> None:
    uri = f"{faulty_s3.uri}/thing"
    publish(uri)
    path = faulty_s3.server.directory / uri.removeprefix("s3://") / "inner" / "a"
    path.write_bytes(b"W" + path.read_bytes()[1:])
    with pytest.raises(PublicationError, match=r"inner/a: has 5000 bytes, sha256"):
        verify(read_published(uri, kind=KIND))


def test_nothing_stays_on_this_machine(
    faulty_s3: FaultyS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    uri = f"{faulty_s3.uri}/thing"
    publish(uri)
    assert_whole(uri)
    faulty_s3.proxy.inject(DENIED, on="PutObject")
    with pytest.raises(StorageDeniedError):
        publish(uri)
    assert list(tmp_path.iterdir()) == []
