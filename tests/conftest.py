"""Fixtures that many tests share."""

import os
from collections.abc import Iterator
from pathlib import Path

import boto3
import fsspec
import pytest
import torch
from hypothesis import settings
from moto.server import ThreadedMotoServer

# Threads of tiny tensors only wait for one another; for this process and those it starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(1)

# A test that is fast alone may take long beside others: time says nothing about being right.
settings.register_profile("raykd", deadline=None)
settings.load_profile("raykd")


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Serve S3 over HTTP on a free port of this machine; no test can reach a real bucket."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def set_s3_environment(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """Point every S3 client of this process and those it starts at the test's server."""
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",  # the mock server accepts any
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def s3_uri(s3_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Return the URI of an empty bucket, with the environment set so that all clients find it."""
    set_s3_environment(monkeypatch, s3_server)
    bucket = f"raykd-{abs(hash(tmp_path)):x}"
    boto3.client("s3", endpoint_url=s3_server).create_bucket(Bucket=bucket)
    fsspec.filesystem("s3").clear_instance_cache()
    return f"s3://{bucket}"


@pytest.fixture(params=["local", "s3"])
def storage_uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return an empty place to store things, once on this machine and once in S3."""
    if request.param == "local":
        return str(tmp_path / "store")
    uri: str = request.getfixturevalue("s3_uri")
    return uri
