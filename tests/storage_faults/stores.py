"""What the tests of this folder look at: uploads that were never finished, bytes that arrived."""

import os
from pathlib import Path
from typing import Any

import boto3
from raykd.storage import uris
from raykd.storage.remote.transfers import upload

from tests.conftest import FaultyS3
from tests.servers.faults import INTERNAL_ERROR, SLOW_DOWN, Fault, Lost, Reset, Slow, Truncated

PART_BYTES = 16 << 20

PARTS_BYTES = 2 * PART_BYTES + 1
"""Three parts, the last of one byte."""

BRIEF_FAULTS: dict[str, Fault] = {
    "slow down": SLOW_DOWN,
    "internal error": INTERNAL_ERROR,
    "reset": Reset(),
    "reset in the middle": Reset(after_share=0.5),
    "lost answer": Lost(),
    "truncated answer": Truncated(),
    "slow": Slow(seconds=0.2),
}
"""What passes: the request is to be tried again."""


def upload_one(path: Path, store: FaultyS3) -> None:
    """Upload a file as ``inner/file``."""
    with uris.retry_for(20):
        upload([(path, f"{store.uri}/inner/file")])


def bucket_of(store: FaultyS3) -> str:
    return store.uri.removeprefix("s3://")


def unfinished_uploads(store: FaultyS3) -> list[str]:
    """Ask the server itself for the keys of multipart uploads that were begun and not ended."""
    return uploads_of(store.server.endpoint, bucket_of(store))


def uploads_of(endpoint: str, bucket: str) -> list[str]:
    """Return the keys of multipart uploads to a bucket that were begun and not ended."""
    s3: Any = boto3.Session().client("s3", endpoint_url=endpoint)
    try:
        found = s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    except s3.exceptions.NoSuchUpload:
        # So rclone says that there has been none since its start.
        return []
    return [upload["Key"] for upload in found]


def begin_upload(store: FaultyS3, key: str) -> None:
    """Leave a multipart upload without parts that nobody ends."""
    s3: Any = boto3.Session().client("s3", endpoint_url=store.server.endpoint)
    s3.create_multipart_upload(Bucket=bucket_of(store), Key=key)


def stored_bytes(store: FaultyS3, key: str) -> bytes:
    """Read what the server has on its disk."""
    return (store.server.directory / bucket_of(store) / key).read_bytes()


def stored_names(store: FaultyS3) -> list[str]:
    """List what the server has on its disk."""
    root = store.server.directory / bucket_of(store)
    return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())


def random_file(path: Path, num_bytes: int) -> bytes:
    """Write a file of random bytes and return them."""
    content = os.urandom(num_bytes)
    path.write_bytes(content)
    return content
