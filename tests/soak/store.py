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
from tests.servers.rclone import ACCESS_KEY, SECRET_KEY, Rclone

BUCKET = "soak"

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
    server: Rclone

    @property
    def uri(self) -> str:
        """The bucket."""
        return f"s3://{BUCKET}"

    @property
    def directory(self) -> Path:
        """Where the server keeps the bucket's objects as files."""
        return self.server.directory / BUCKET

    def pending_uploads(self) -> int:
        """Return how many multipart uploads are neither completed nor aborted."""
        return len(_client(self.server).list_multipart_uploads(Bucket=BUCKET).get("Uploads", ()))


@contextmanager
def faulty_store(directory: Path, *, seed: int) -> Iterator[Store]:
    """Serve a bucket over a directory, and let its requests fail now and then."""
    with (
        closing(Rclone(directory / "buckets", directory / "rclone.log")) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        server.start()
        with closing(Proxy(server.port, seed=seed)) as proxy:
            proxy.start()
            set_s3_environment(patch, proxy.endpoint, access_key=ACCESS_KEY, secret_key=SECRET_KEY)
            _client(server).create_bucket(Bucket=BUCKET)
            for fault, on, probability in _FAULTS:
                proxy.inject(fault, on=on, times=None, probability=probability)
            yield Store(proxy=proxy, server=server)


def _client(server: Rclone) -> Any:
    return boto3.client("s3", endpoint_url=server.endpoint)
