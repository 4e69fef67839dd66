"""Files to and from a store that is disturbed: whole in the end, and nothing left behind."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from raykd.errors import StorageDeniedError, StorageError
from raykd.storage import uris
from raykd.storage.remote.transfers import download, upload

from tests.conftest import FaultyS3
from tests.servers.faults import (
    DENIED,
    INTERNAL_ERROR,
    SLOW_DOWN,
    Answer,
    Fault,
    Hold,
    Lost,
    Reset,
    Shortened,
    Truncated,
)
from tests.storage_faults.stores import (
    BRIEF_FAULTS,
    PARTS_BYTES,
    random_file,
    stored_bytes,
    stored_names,
    unfinished_uploads,
    upload_one,
)

SMALL_BYTES = 300_000


@pytest.mark.parametrize("fault", BRIEF_FAULTS)
def test_a_small_file_arrives(fault: str, faulty_s3: FaultyS3, tmp_path: Path) -> None:
    content = random_file(tmp_path / "file", SMALL_BYTES)
    faulty_s3.proxy.inject(BRIEF_FAULTS[fault], on="PutObject")
    upload_one(tmp_path / "file", faulty_s3)
    assert faulty_s3.proxy.count(faulty=True) == 1
    assert stored_bytes(faulty_s3, "inner/file") == content


MULTIPART_FAULTS: list[tuple[str, Fault]] = [
    ("CreateMultipartUpload", INTERNAL_ERROR),
    ("UploadPart.*partNumber=2", SLOW_DOWN),
    ("UploadPart.*partNumber=2", INTERNAL_ERROR),
    ("UploadPart.*partNumber=2", Reset(after_share=0.5)),
    ("UploadPart.*partNumber=2", Lost()),
    ("CompleteMultipartUpload", INTERNAL_ERROR),
    ("CompleteMultipartUpload", Lost()),
]


@pytest.mark.parametrize(("on", "fault"), MULTIPART_FAULTS, ids=str)
def test_a_file_of_several_parts_arrives_and_leaves_none(
    on: str, fault: Fault, faulty_s3: FaultyS3, tmp_path: Path
) -> None:
    content = random_file(tmp_path / "file", PARTS_BYTES)
    faulty_s3.proxy.inject(fault, on=on)
    upload_one(tmp_path / "file", faulty_s3)
    assert faulty_s3.proxy.count(faulty=True) == 1
    assert stored_bytes(faulty_s3, "inner/file") == content
    assert unfinished_uploads(faulty_s3) == []


def test_a_denied_part_ends_the_upload_and_leaves_none(
    faulty_s3: FaultyS3, tmp_path: Path
) -> None:
    random_file(tmp_path / "file", PARTS_BYTES)
    faulty_s3.proxy.inject(DENIED, on="UploadPart.*partNumber=3")
    with pytest.raises(StorageDeniedError, match="inner/file: access is denied"):
        upload_one(tmp_path / "file", faulty_s3)
    assert faulty_s3.proxy.count("CreateMultipartUpload") == 1
    assert stored_names(faulty_s3) == []
    assert unfinished_uploads(faulty_s3) == []


def test_a_server_that_restarts_in_the_middle_of_an_upload_gets_it_whole(
    faulty_s3: FaultyS3, tmp_path: Path
) -> None:
    content = random_file(tmp_path / "file", PARTS_BYTES)
    faulty_s3.proxy.inject(hold := Hold(), on="UploadPart.*partNumber=3")
    with ThreadPoolExecutor(1) as pool:
        uploading = pool.submit(upload_one, tmp_path / "file", faulty_s3)
        assert hold.reached.wait(10)
        faulty_s3.server.kill()
        hold.released.set()
        faulty_s3.server.restart()
        uploading.result()
    assert stored_bytes(faulty_s3, "inner/file") == content
    assert unfinished_uploads(faulty_s3) == []


def test_an_upload_outlasts_an_outage(faulty_s3: FaultyS3, tmp_path: Path) -> None:
    content = random_file(tmp_path / "file", PARTS_BYTES)
    faulty_s3.proxy.inject(hold := Hold(), on="UploadPart.*partNumber=2")
    with ThreadPoolExecutor(1) as pool:
        uploading = pool.submit(upload_one, tmp_path / "file", faulty_s3)
        assert hold.reached.wait(10)
        with faulty_s3.proxy.outage():
            hold.released.set()
            threading.Event().wait(0.5)
            assert not uploading.done()
        uploading.result()
    assert stored_bytes(faulty_s3, "inner/file") == content
    assert unfinished_uploads(faulty_s3) == []


def test_many_files_arrive_though_every_fifth_request_fails(
    faulty_s3: FaultyS3, tmp_path: Path
) -> None:
    contents = {f"{n}": random_file(tmp_path / f"{n}", 1000 + n) for n in range(24)}
    for fault in (SLOW_DOWN, Reset(), Lost(), INTERNAL_ERROR):
        faulty_s3.proxy.inject(fault, times=None, probability=0.05)
    with uris.retry_for(30):
        upload((tmp_path / name, f"{faulty_s3.uri}/{name}") for name in contents)
        download((f"{faulty_s3.uri}/{name}", tmp_path / "back" / name) for name in contents)
    assert faulty_s3.proxy.count(faulty=True) > 5
    for name, content in contents.items():
        assert stored_bytes(faulty_s3, name) == (tmp_path / "back" / name).read_bytes() == content


def test_what_arrives_damaged_is_an_error(faulty_s3: FaultyS3, tmp_path: Path) -> None:
    random_file(tmp_path / "file", SMALL_BYTES)
    # Someone else's write of the same size, at the moment between the upload and the look at it.
    faulty_s3.proxy.inject(hold := Hold(), on="HeadObject")
    with ThreadPoolExecutor(1) as pool:
        uploading = pool.submit(upload_one, tmp_path / "file", faulty_s3)
        assert hold.reached.wait(10)
        uris.write_bytes(f"{faulty_s3.uri}/inner/file", b"x" * SMALL_BYTES)
        hold.released.set()
        with pytest.raises(StorageError, match="inner/file: what arrived differs"):
            uploading.result()


def test_what_arrives_short_is_an_error(faulty_s3: FaultyS3, tmp_path: Path) -> None:
    random_file(tmp_path / "file", SMALL_BYTES)
    faulty_s3.proxy.inject(hold := Hold(), on="HeadObject")
    with ThreadPoolExecutor(1) as pool:
        uploading = pool.submit(upload_one, tmp_path / "file", faulty_s3)
        assert hold.reached.wait(10)
        uris.write_bytes(f"{faulty_s3.uri}/inner/file", b"x" * 10)
        hold.released.set()
        with pytest.raises(StorageError, match=f"10 bytes arrived of {SMALL_BYTES}"):
            uploading.result()


@pytest.mark.parametrize(
    "fault", [SLOW_DOWN, Reset(), Truncated(share=0.9), Shortened(share=0.9)], ids=type
)
def test_a_download_is_whole(fault: Fault, faulty_s3: FaultyS3, tmp_path: Path) -> None:
    content = random_file(tmp_path / "file", SMALL_BYTES)
    upload_one(tmp_path / "file", faulty_s3)
    faulty_s3.proxy.inject(fault, on="GetObject", times=2)
    with uris.retry_for(20):
        download([(f"{faulty_s3.uri}/inner/file", tmp_path / "back")])
    assert faulty_s3.proxy.count(faulty=True) == 2
    assert (tmp_path / "back").read_bytes() == content


def test_a_download_that_stays_short_is_an_error(faulty_s3: FaultyS3, tmp_path: Path) -> None:
    random_file(tmp_path / "file", SMALL_BYTES)
    upload_one(tmp_path / "file", faulty_s3)
    faulty_s3.proxy.inject(Shortened(), on="GetObject", times=None)
    with uris.retry_for(0.5), pytest.raises(StorageError, match="inner/file: "):
        download([(f"{faulty_s3.uri}/inner/file", tmp_path / "back")])


def test_one_failure_ends_the_other_transfers(faulty_s3: FaultyS3, tmp_path: Path) -> None:
    path = tmp_path / "file"
    random_file(path, 1000)
    faulty_s3.proxy.inject(DENIED, on="PutObject .*/0$", times=None)
    with pytest.raises(StorageDeniedError, match="/0: access is denied"):
        upload((path, f"{faulty_s3.uri}/{n}") for n in range(500))
    assert faulty_s3.proxy.count("PutObject") < 500


def test_a_wrong_answer_of_another_kind_is_told_as_it_is(
    faulty_s3: FaultyS3, tmp_path: Path
) -> None:
    random_file(tmp_path / "file", 1000)
    too_large = Answer(status=400, code="EntityTooLarge", message="larger than allowed")
    faulty_s3.proxy.inject(too_large, on="PutObject", times=None)
    with pytest.raises(StorageError, match=r"inner/file: .*larger than allowed"):
        upload_one(tmp_path / "file", faulty_s3)
    assert faulty_s3.proxy.count("PutObject") == 1
