"""Multipart uploads that are neither completed nor aborted: S3 keeps their parts for ever."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from fsspec.asyn import sync

from raykd.remote.filesystem import filesystem, is_s3
from raykd.remote.retry import reach


@dataclass(frozen=True, kw_only=True, slots=True)
class Upload:
    """One upload that is not complete."""

    uri: str
    """Of the file to be."""

    upload_id: str
    num_bytes: int
    """Of the parts that have arrived."""

    modified_at: float
    """When the last part arrived, or where none has, when it began; seconds since the epoch."""


def pending_uploads(uri: str) -> list[Upload]:
    """Return the uploads below a URI; none where the store is not S3."""
    if not is_s3(filesystem(uri)[0]):
        return []
    return reach(uri, lambda found, path: list(_pending(found, path, uri.rstrip("/"))))


def abort(upload: Upload) -> None:
    """Remove the parts of an upload, which can then not be completed."""

    def remove(found: Any, path: str) -> None:
        with suppress(FileNotFoundError):  # completed or aborted meanwhile
            bucket, _, key = path.partition("/")
            found.call_s3(
                "abort_multipart_upload", Bucket=bucket, Key=key, UploadId=upload.upload_id
            )

    reach(upload.uri, remove)


def abort_uploads_of(uri: str) -> None:
    """Abort the uploads of one file that are not complete."""
    for found in pending_uploads(uri.rpartition("/")[0]):
        if found.uri == uri:
            abort(found)


def _pending(found: Any, path: str, uri: str) -> Iterator[Upload]:
    bucket, _, key = path.strip("/").partition("/")
    prefix = f"{key}/" if key else ""
    pages = _pages(found, "list_multipart_uploads", {"Bucket": bucket, "Prefix": prefix})
    for upload in (upload for page in pages for upload in page.get("Uploads", [])):
        where = {"Bucket": bucket, "Key": upload["Key"], "UploadId": upload["UploadId"]}
        parts = [p for page in _pages(found, "list_parts", where) for p in page.get("Parts", [])]
        yield Upload(
            uri=f"{uri}/{upload['Key'].removeprefix(prefix)}",
            upload_id=upload["UploadId"],
            num_bytes=sum(part["Size"] for part in parts),
            modified_at=max(
                when.timestamp()
                for when in (upload["Initiated"], *(part["LastModified"] for part in parts))
            ),
        )


def _pages(found: Any, operation: str, arguments: dict[str, str]) -> list[dict[str, Any]]:
    """Return all pages of a listing, which s3fs itself has no function for."""

    async def pages() -> list[dict[str, Any]]:
        await found.set_session()  # there is no client before the first request
        client = await found.get_s3(arguments["Bucket"])
        try:
            return [page async for page in client.get_paginator(operation).paginate(**arguments)]
        except client.exceptions.NoSuchUpload:
            return []  # completed or aborted meanwhile; rclone says so of a bucket without any

    result: list[dict[str, Any]] = sync(found.loop, pages)
    return result
