"""Multipart uploads that are neither completed nor aborted: S3 keeps their parts for ever."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError
from fsspec import AbstractFileSystem
from fsspec.asyn import sync
from s3fs.errors import translate_boto_error

from raykd.storage.remote.filesystem import filesystem, is_s3
from raykd.storage.remote.retry import reach

_Entry = dict[str, Any]
"""What S3 says of an upload, a part or a page of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Upload:
    """One upload that is not complete."""

    uri: str
    """The file to be."""

    upload_id: str
    num_bytes: int
    """Size of the parts that have arrived."""

    modified_at: float
    """When the last part arrived, or where none has, when it began; seconds since the epoch."""


def pending_uploads(uri: str) -> list[Upload]:
    """Return the uploads below a URI; none where the store is not S3."""
    if not is_s3(filesystem(uri)[0]):
        return []
    return reach(uri, lambda store, path: list(_pending(store, path, uri.rstrip("/"))))


def abort(upload: Upload) -> None:
    """Remove the parts of an upload, which can then not be completed."""
    reach(upload.uri, lambda store, path: _abort(store, path, upload.upload_id))


def abort_uploads_of(uri: str) -> None:
    """Abort the uploads of one file that are not complete; none where the store is not S3."""

    def abort_all(store: AbstractFileSystem, path: str) -> None:
        bucket, _, key = path.partition("/")
        for upload in _begun(store, bucket, prefix=key) if is_s3(store) else []:
            # S3 lists by prefix: those of longer keys are there too.
            if upload["Key"] == key:
                _abort(store, path, upload["UploadId"])

    reach(uri, abort_all)


def _abort(store: AbstractFileSystem, path: str, upload_id: str) -> None:
    bucket, _, key = path.partition("/")
    with suppress(FileNotFoundError):  # completed or aborted meanwhile
        store.call_s3("abort_multipart_upload", Bucket=bucket, Key=key, UploadId=upload_id)


def _begun(store: AbstractFileSystem, bucket: str, *, prefix: str) -> list[_Entry]:
    pages = _pages(store, "list_multipart_uploads", {"Bucket": bucket, "Prefix": prefix})
    return [upload for page in pages for upload in page.get("Uploads", [])]


def _pending(store: AbstractFileSystem, path: str, uri: str) -> Iterator[Upload]:
    bucket, _, key = path.strip("/").partition("/")
    prefix = f"{key}/" if key else ""
    for upload in _begun(store, bucket, prefix=prefix):
        where = {"Bucket": bucket, "Key": upload["Key"], "UploadId": upload["UploadId"]}
        parts = [p for page in _pages(store, "list_parts", where) for p in page.get("Parts", [])]
        yield Upload(
            uri=f"{uri}/{upload['Key'].removeprefix(prefix)}",
            upload_id=upload["UploadId"],
            num_bytes=sum(part["Size"] for part in parts),
            modified_at=max(
                when.timestamp()
                for when in (upload["Initiated"], *(part["LastModified"] for part in parts))
            ),
        )


def _pages(store: AbstractFileSystem, operation: str, arguments: dict[str, str]) -> list[_Entry]:
    """Return all pages of a listing, which s3fs itself has no function for."""

    # On the event loop of s3fs, which its client is bound to.
    async def pages() -> list[_Entry]:
        await store.set_session()  # there is no client before the first request
        client = await store.get_s3(arguments["Bucket"])
        try:
            return [page async for page in client.get_paginator(operation).paginate(**arguments)]
        except client.exceptions.NoSuchUpload:
            return []  # completed or aborted meanwhile; rclone says so of a bucket without any
        except ClientError as error:
            raise translate_boto_error(error) from error

    result: list[_Entry] = sync(store.loop, pages)
    return result
