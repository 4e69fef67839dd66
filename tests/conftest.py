"""Fixtures that many tests share."""

import os
import signal
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import boto3
import fsspec
import pytest
import torch
from hypothesis import settings
from moto.server import ThreadedMotoServer
from raykd.storage.remote.filesystem import checksum_options

from tests.servers.proxy import Proxy
from tests.servers.rclone import ACCESS_KEY, SECRET_KEY, Rclone

# Threads of tiny tensors only wait for one another; for this process and those it starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(1)

# A test that is fast alone may take long beside others: time says nothing about being right.
settings.register_profile("raykd", deadline=None)
settings.load_profile("raykd")


def pytest_configure() -> None:
    """Hear interrupts where a shell has tests ignore them, as its jobs in the background do.

    The programs that tests interrupt would inherit that.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Serve S3 over HTTP on a free port of this machine; no test can reach a real bucket."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def set_s3_environment(
    monkeypatch: pytest.MonkeyPatch,
    endpoint: str,
    *,
    access_key: str = "test",
    secret_key: str = "test",  # noqa: S107  # the mock server accepts any
) -> None:
    """Point every S3 client of this process and those it starts at the test's server."""
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret_key,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    # Instances are cached by their arguments, which the environment is no part of.
    fsspec.filesystem("s3").clear_instance_cache()
    checksum_options.cache_clear()


@pytest.fixture
def s3_uri(s3_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Return the URI of an empty bucket, with the environment set so that all clients find it."""
    set_s3_environment(monkeypatch, s3_server)
    bucket = f"raykd-{abs(hash(tmp_path)):x}"
    boto3.Session().client("s3", endpoint_url=s3_server).create_bucket(Bucket=bucket)
    return f"s3://{bucket}"


@pytest.fixture(scope="session")
def rclone_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rclone]:
    """Serve a directory as S3 by a process of its own, which checks signatures."""
    directory = tmp_path_factory.mktemp("rclone")
    with closing(Rclone(directory / "buckets", directory / "log")) as server:
        server.start()
        yield server


@pytest.fixture
def rclone_uri(rclone_server: Rclone, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URI of an empty bucket of rclone, with the environment set for all clients."""
    rclone_server.start()
    return _bucket_of_rclone(rclone_server, rclone_server.endpoint, monkeypatch)


@dataclass(frozen=True, kw_only=True, slots=True)
class FaultyS3:
    """An empty bucket of rclone that clients reach through a proxy."""

    uri: str
    proxy: Proxy
    server: Rclone


@pytest.fixture
def faulty_s3(rclone_server: Rclone, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyS3]:
    """Give a bucket whose requests a test can let fail, on a server that it can kill."""
    rclone_server.start()
    with closing(Proxy(rclone_server.port)) as proxy:
        proxy.start()
        uri = _bucket_of_rclone(rclone_server, proxy.endpoint, monkeypatch)
        yield FaultyS3(uri=uri, proxy=proxy, server=rclone_server)


def _bucket_of_rclone(server: Rclone, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    set_s3_environment(monkeypatch, endpoint, access_key=ACCESS_KEY, secret_key=SECRET_KEY)
    bucket = f"raykd-{uuid.uuid4().hex[:12]}"
    boto3.Session().client("s3", endpoint_url=server.endpoint).create_bucket(Bucket=bucket)
    return f"s3://{bucket}"


@pytest.fixture(params=["local", "s3"])
def storage_uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return an empty place to store things, once on this machine and once in S3."""
    if request.param == "local":
        return str(tmp_path / "store")
    uri: str = request.getfixturevalue("s3_uri")
    return uri
