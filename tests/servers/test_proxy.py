"""The proxy and the server behind it do to S3 clients what tests say they do."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    IncompleteReadError,
    ResponseStreamingError,
)

from tests.conftest import FaultyS3
from tests.servers.faults import (
    DENIED,
    SLOW_DOWN,
    Hold,
    Lost,
    Reset,
    Shortened,
    Slow,
    Truncated,
    operation,
)
from tests.servers.rclone import ACCESS_KEY, SECRET_KEY

CONTENT = bytes(range(256)) * 4096
CUT = (ConnectionClosedError, EndpointConnectionError)


@pytest.fixture
def s3(faulty_s3: FaultyS3) -> Any:
    """A client that tries once, and sends no checksum that would tell of a shortened answer."""
    once = Config(
        retries={"total_max_attempts": 1},
        connect_timeout=2,
        read_timeout=5,
        request_checksum_calculation="when_required",
    )
    return boto3.Session().client("s3", config=once)


def bucket(faulty_s3: FaultyS3) -> str:
    return faulty_s3.uri.removeprefix("s3://")


def put(s3: Any, faulty_s3: FaultyS3, key: str = "key") -> None:
    s3.put_object(Bucket=bucket(faulty_s3), Key=key, Body=CONTENT)


def get(s3: Any, faulty_s3: FaultyS3, key: str = "key") -> bytes:
    return bytes(s3.get_object(Bucket=bucket(faulty_s3), Key=key)["Body"].read())


def is_stored(faulty_s3: FaultyS3, key: str = "key") -> bool:
    return (faulty_s3.server.directory / bucket(faulty_s3) / key).exists()


def test_what_is_not_disturbed_is_passed_on(s3: Any, faulty_s3: FaultyS3) -> None:
    put(s3, faulty_s3)
    assert get(s3, faulty_s3) == CONTENT
    assert s3.head_object(Bucket=bucket(faulty_s3), Key="key")["ContentLength"] == len(CONTENT)
    listed = s3.list_objects_v2(Bucket=bucket(faulty_s3))["Contents"]
    assert [found["Key"] for found in listed] == ["key"]
    s3.delete_object(Bucket=bucket(faulty_s3), Key="key")
    assert not is_stored(faulty_s3)
    kinds = ("PutObject", "GetObject", "HeadObject", "ListObjects", "DeleteObject")
    assert faulty_s3.proxy.counts() == dict.fromkeys(kinds, 1)


def test_the_server_checks_signatures(faulty_s3: FaultyS3) -> None:
    wrong = SECRET_KEY[::-1]
    stranger = boto3.Session().client(
        "s3", aws_access_key_id=ACCESS_KEY, aws_secret_access_key=wrong
    )
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        stranger.list_objects_v2(Bucket=bucket(faulty_s3))


@pytest.mark.parametrize("fault", [SLOW_DOWN, DENIED])
def test_an_error_is_answered_as_often_as_said(fault: Any, s3: Any, faulty_s3: FaultyS3) -> None:
    faulty_s3.proxy.inject(fault, on="PutObject", skip=1, times=2)
    put(s3, faulty_s3, "first")
    for _ in range(2):
        with pytest.raises(ClientError, match=fault.code):
            put(s3, faulty_s3)
    assert not is_stored(faulty_s3)
    put(s3, faulty_s3)
    assert faulty_s3.proxy.count("PutObject", faulty=True) == 2


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_reset_upload_is_not_stored(share: float, s3: Any, faulty_s3: FaultyS3) -> None:
    faulty_s3.proxy.inject(Reset(after_share=share), on="PutObject")
    with pytest.raises(CUT):
        put(s3, faulty_s3)
    assert not is_stored(faulty_s3)


def test_a_lost_answer_is_of_something_done(s3: Any, faulty_s3: FaultyS3) -> None:
    faulty_s3.proxy.inject(Lost(), on="PutObject")
    with pytest.raises(CUT):
        put(s3, faulty_s3)
    assert is_stored(faulty_s3)


def test_a_truncated_answer_breaks_its_promise(s3: Any, faulty_s3: FaultyS3) -> None:
    put(s3, faulty_s3)
    faulty_s3.proxy.inject(Truncated(), on="GetObject")
    with pytest.raises((IncompleteReadError, ResponseStreamingError)):
        get(s3, faulty_s3)


def test_a_shortened_answer_looks_whole(s3: Any, faulty_s3: FaultyS3) -> None:
    put(s3, faulty_s3)
    faulty_s3.proxy.inject(Shortened(), on="GetObject")
    assert get(s3, faulty_s3) == CONTENT[: len(CONTENT) // 2]


def test_a_slow_body_arrives(s3: Any, faulty_s3: FaultyS3) -> None:
    faulty_s3.proxy.inject(Slow(seconds=0.1), times=None)
    put(s3, faulty_s3)
    assert get(s3, faulty_s3) == CONTENT


def test_a_request_on_hold_goes_on_when_told(s3: Any, faulty_s3: FaultyS3) -> None:
    hold = Hold()
    faulty_s3.proxy.inject(hold, on="PutObject")
    with ThreadPoolExecutor(1) as pool:
        putting = pool.submit(put, s3, faulty_s3)
        assert hold.reached.wait(10)
        assert not is_stored(faulty_s3)
        hold.released.set()
        putting.result()
    assert is_stored(faulty_s3)


def test_connections_are_refused_in_an_outage_and_reset_at_its_start(
    s3: Any, faulty_s3: FaultyS3
) -> None:
    put(s3, faulty_s3)
    faulty_s3.proxy.inject(hold := Hold(), on="GetObject")
    with ThreadPoolExecutor(1) as pool:
        getting = pool.submit(get, s3, faulty_s3)
        assert hold.reached.wait(10)
        with faulty_s3.proxy.outage():
            with pytest.raises(CUT):
                getting.result()
            with pytest.raises(EndpointConnectionError):
                put(s3, faulty_s3)
        hold.released.set()
    assert get(s3, faulty_s3) == CONTENT


def test_a_killed_server_resets_and_comes_back_with_what_it_had(
    s3: Any, faulty_s3: FaultyS3
) -> None:
    put(s3, faulty_s3)
    port = faulty_s3.server.port
    faulty_s3.server.kill()
    with pytest.raises(CUT):
        get(s3, faulty_s3)
    faulty_s3.server.restart()
    assert faulty_s3.server.port == port
    assert get(s3, faulty_s3) == CONTENT


def test_chance_is_repeatable(faulty_s3: FaultyS3) -> None:
    proxy = faulty_s3.proxy
    proxy.inject(SLOW_DOWN, times=None, probability=0.5)
    judged = [proxy.judge("GET", "/b/k") is not None for _ in range(400)]
    assert 150 < judged.count(True) < 250


@pytest.mark.parametrize(
    ("method", "target", "name"),
    [
        ("PUT", "/b/k?partNumber=1&uploadId=x", "UploadPart"),
        ("POST", "/b/k?uploads", "CreateMultipartUpload"),
        ("POST", "/b/k?uploads=", "CreateMultipartUpload"),
        ("POST", "/b/k?uploadId=x", "CompleteMultipartUpload"),
        ("DELETE", "/b/k?uploadId=x", "AbortMultipartUpload"),
        ("GET", "/b?uploads", "ListMultipartUploads"),
        ("GET", "/b/k?uploadId=x", "ListParts"),
        ("GET", "/b?list-type=2&prefix=a%2Fb", "ListObjects"),
        ("GET", "/b/inner/k", "GetObject"),
        ("POST", "/b?delete", "DeleteObjects"),
        ("HEAD", "/b", "HeadBucket"),
        ("PATCH", "/b/k", "PATCHOther"),
    ],
)
def test_requests_are_named_as_s3_does(method: str, target: str, name: str) -> None:
    assert operation(method, target) == name


def test_many_clients_are_served_at_once(s3: Any, faulty_s3: FaultyS3) -> None:
    together = threading.Barrier(8)

    def put_one(number: int) -> None:
        together.wait()
        put(s3, faulty_s3, f"many/{number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put_one, range(8)))
    assert faulty_s3.proxy.counts()["PutObject"] == 8
