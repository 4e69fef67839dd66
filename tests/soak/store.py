"""The object store of a soak: a real S3 server behind a proxy that breaks a few per cent."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.conftest import set_s3_environment
from tests.servers.faults import INTERNAL_ERROR, SLOW_DOWN, Fault, Lost, Reset, Slow, Truncated
from tests.servers.proxy import Proxy
from tests.servers.radosgw import Radosgw
from tests.servers.rclone import Rclone
from tests.storage_faults.stores import uploads_of

BUCKET = "soak"
SERVERS = ("rclone", "radosgw")

Server = Rclone | Radosgw

_FAULTS: tuple[tuple[Fault, str, float], ...] = (
    (SLOW_DOWN, "", 0.015),
    (INTERNAL_ERROR, "", 0.005),
    (Reset(after_share=0.5), "", 0.01),
    (Lost(), "", 0.01),
    (Truncated(), "GetObject", 0.02),
    (Slow(seconds=1.0), "GetObject|PutObject|UploadPart", 0.01),
)
"""What happens to which requests, and how often."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Store:
    """One bucket; this process and those it starts reach it through the proxy."""

    proxy: Proxy
    server: Server

    @property
    def uri(self) -> str:
        """The bucket."""
        return f"s3://{BUCKET}"

    def put(self, directory: Path) -> None:
        """Write a directory into the bucket, under its name."""
        client = _client(self.server)
        for path in directory.rglob("*"):
            if path.is_file():
                client.upload_file(str(path), BUCKET, str(path.relative_to(directory.parent)))

    def fetch(self, directory: Path) -> None:
        """Read all objects of the bucket, as files."""
        client = _client(self.server)
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
            for found in page.get("Contents", ()):
                path = directory / found["Key"]
                path.parent.mkdir(parents=True, exist_ok=True)
                client.download_file(BUCKET, found["Key"], str(path))

    def pending_uploads(self) -> int:
        """Return how many multipart uploads are neither completed nor aborted."""
        return len(uploads_of(self.server.endpoint, BUCKET))


@contextmanager
def faulty_store(directory: Path, *, server: str, seed: int) -> Iterator[Store]:
    """Serve a bucket, and let its requests fail now and then."""
    with (
        closing(_server(server, directory)) as running,
        pytest.MonkeyPatch.context() as patch,
    ):
        running.start()
        with closing(Proxy(running.port, seed=seed)) as proxy:
            proxy.start()
            set_s3_environment(
                patch,
                proxy.endpoint,
                access_key=running.access_key,
                secret_key=running.secret_key,
            )
            _client(running).create_bucket(Bucket=BUCKET)
            for fault, on, probability in _FAULTS:
                proxy.inject(fault, on=on, times=None, probability=probability)
            yield Store(proxy=proxy, server=running)


def _server(name: str, directory: Path) -> Server:
    if name == "radosgw":
        return Radosgw(directory / "ceph")
    return Rclone(directory / "buckets", directory / "rclone.log")


def _client(server: Server) -> Any:
    return boto3.Session().client("s3", endpoint_url=server.endpoint)
