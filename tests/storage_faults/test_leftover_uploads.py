"""No upload, ended well or not, leaves parts behind that the store keeps for ever."""

from pathlib import Path

import pytest
from raykd.errors import StorageDeniedError, StorageError
from raykd.storage import uris
from raykd.storage.remote.uploads import abort, pending_uploads

from tests.conftest import FaultyS3
from tests.servers.faults import DENIED, INTERNAL_ERROR, Answer, Fault, Lost
from tests.storage_faults.stores import (
    PARTS_BYTES,
    begin_upload,
    random_file,
    stored_bytes,
    stored_names,
    unfinished_uploads,
    upload_one,
)


def test_no_pending_uploads_are_listed_where_there_never_was_one(faulty_s3: FaultyS3) -> None:
    with uris.retry_for(2):
        assert pending_uploads(faulty_s3.uri) == []


@pytest.mark.parametrize(
    ("on", "fault"),
    [("CreateMultipartUpload", Lost()), ("UploadPart|AbortMultipartUpload", INTERNAL_ERROR)],
    ids=str,
)
def test_what_an_upload_leaves_behind_is_found_and_aborted(
    on: str, fault: Fault, faulty_s3: FaultyS3, tmp_path: Path
) -> None:
    content = random_file(tmp_path / "file", PARTS_BYTES)
    faulty_s3.proxy.inject(fault, on=on, times=5)
    upload_one(tmp_path / "file", faulty_s3)
    assert unfinished_uploads(faulty_s3) == []
    assert stored_names(faulty_s3) == ["inner/file"]
    assert stored_bytes(faulty_s3, "inner/file") == content


def test_what_may_not_be_listed_stays_behind_and_is_told(
    faulty_s3: FaultyS3, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = random_file(tmp_path / "file", PARTS_BYTES)
    faulty_s3.proxy.inject(DENIED, on="ListMultipartUploads", times=None)
    upload_one(tmp_path / "file", faulty_s3)
    assert stored_bytes(faulty_s3, "inner/file") == content
    assert "inner/file: access is denied" in caplog.text
    assert "see raykd clean" in caplog.text


def test_what_ends_an_upload_is_told_though_nothing_can_be_tidied(
    faulty_s3: FaultyS3, tmp_path: Path
) -> None:
    random_file(tmp_path / "file", PARTS_BYTES)
    too_large = Answer(status=400, code="EntityTooLarge", message="larger than allowed")
    faulty_s3.proxy.inject(too_large, on="UploadPart", times=None)
    faulty_s3.proxy.inject(DENIED, on="ListMultipartUploads", times=None)
    with pytest.raises(StorageError, match=r"inner/file: .*larger than allowed"):
        upload_one(tmp_path / "file", faulty_s3)


def test_an_upload_that_fails_leaves_none(faulty_s3: FaultyS3, tmp_path: Path) -> None:
    random_file(tmp_path / "file", PARTS_BYTES)
    # s3fs begins another one, and knows of that alone.
    faulty_s3.proxy.inject(Lost(), on="CreateMultipartUpload")
    faulty_s3.proxy.inject(DENIED, on="UploadPart.*partNumber=3")
    with pytest.raises(StorageDeniedError, match="inner/file: access is denied"):
        upload_one(tmp_path / "file", faulty_s3)
    assert faulty_s3.proxy.count("CreateMultipartUpload") == 2
    assert stored_names(faulty_s3) == []
    assert unfinished_uploads(faulty_s3) == []


def test_an_upload_ends_those_of_its_own_file_alone(faulty_s3: FaultyS3, tmp_path: Path) -> None:
    others = ["file", "inner/file-2"]
    for key in ("inner/file", *others):
        begin_upload(faulty_s3, key)
    random_file(tmp_path / "file", PARTS_BYTES)
    upload_one(tmp_path / "file", faulty_s3)
    assert sorted(unfinished_uploads(faulty_s3)) == others


def test_what_is_aborted_already_may_be_aborted_again(faulty_s3: FaultyS3) -> None:
    begin_upload(faulty_s3, "inner/file")
    (pending,) = pending_uploads(f"{faulty_s3.uri}/inner")
    assert pending.uri == f"{faulty_s3.uri}/inner/file"
    abort(pending)
    abort(pending)
    assert unfinished_uploads(faulty_s3) == []
