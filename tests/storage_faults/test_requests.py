"""Single requests to a store: what passes is tried again, what does not fails at once."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import fsspec
import pytest
from raykd.errors import StorageDeniedError, StorageError
from raykd.storage import uris

from tests.conftest import FaultyS3
from tests.servers.faults import (
    BAD_SIGNATURE,
    DENIED,
    EXPIRED,
    NO_BUCKET,
    SKEWED,
    SLOW_DOWN,
    UNKNOWN_KEY,
    Answer,
    Lost,
    Reset,
    Truncated,
)
from tests.servers.rclone import SECRET_KEY
from tests.storage_faults.stores import BRIEF_FAULTS, stored_bytes, stored_names


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A function of storage, the request it needs and what it returns."""

    on: str
    call: Callable[[str], Any]
    gives: Any = None


CASES = {
    "write": Case(on="PutObject", call=lambda uri: uris.write_bytes(f"{uri}/w", b"new" * 999)),
    "write many": Case(
        on="PutObject",
        call=lambda uri: uris.write_many({f"{uri}/w": b"new" * 999, f"{uri}/v": b"v"}),
    ),
    "read": Case(
        on="GetObject", call=lambda uri: uris.read_bytes(f"{uri}/in/a"), gives=b"a" * 3000
    ),
    "read the end": Case(
        on="GetObject",
        call=lambda uri: uris.read_bytes(f"{uri}/in/a", start=2990),
        gives=b"a" * 10,
    ),
    "read many": Case(
        on="GetObject .*a",
        call=lambda uri: uris.read_many([f"{uri}/in/a", f"{uri}/in/b", f"{uri}/in/none"]),
        gives={"in/a": b"a" * 3000, "in/b": b"b"},
    ),
    "exists": Case(on="HeadObject", call=lambda uri: uris.exists(f"{uri}/in/a"), gives=True),
    "exists not": Case(
        on="ListObjects", call=lambda uri: uris.exists(f"{uri}/in/none"), gives=False
    ),
    "size": Case(on="HeadObject", call=lambda uri: uris.size_bytes(f"{uri}/in/a"), gives=3000),
    "names": Case(
        on="ListObjects", call=lambda uri: uris.list_names(f"{uri}/in"), gives=["a", "b"]
    ),
    "names of a bucket": Case(on="HeadBucket|ListObjects", call=uris.list_names, gives=["in"]),
    "files": Case(on="ListObjects", call=uris.list_files, gives={"in/a": 3000, "in/b": 1}),
    "delete": Case(on="DeleteObject", call=lambda uri: uris.delete(f"{uri}/in/a")),
    "delete many": Case(
        on="DeleteObject .*a", call=lambda uri: uris.delete_many(f"{uri}/in", ["a", "b"])
    ),
}

LEFT = {
    "write": ["in/a", "in/b", "w"],
    "write many": ["in/a", "in/b", "v", "w"],
    "delete": ["in/b"],
    "delete many": [],
}
"""What the store has afterwards where that is not what it had."""


def fill(store: FaultyS3) -> None:
    uris.write_bytes(f"{store.uri}/in/a", b"a" * 3000)
    uris.write_bytes(f"{store.uri}/in/b", b"b")
    store.proxy.forget()


def call(case: Case, store: FaultyS3) -> Any:
    found = case.call(store.uri)
    if isinstance(found, dict):
        return {str(key).removeprefix(f"{store.uri}/"): value for key, value in found.items()}
    return found


PAIRS = [
    *((name, fault) for name in ("write", "read") for fault in BRIEF_FAULTS),
    *((name, "internal error") for name in CASES if name not in ("write", "read")),
    ("delete", "lost answer"),
    ("write many", "lost answer"),
]


@pytest.mark.parametrize(("name", "fault"), PAIRS)
def test_a_request_survives_what_passes(name: str, fault: str, faulty_s3: FaultyS3) -> None:
    fill(faulty_s3)
    case = CASES[name]
    faulty_s3.proxy.inject(BRIEF_FAULTS[fault], on=case.on)
    with uris.retry_for(20):
        assert call(case, faulty_s3) == case.gives
    assert faulty_s3.proxy.count(faulty=True) == 1
    assert stored_names(faulty_s3) == LEFT.get(name, ["in/a", "in/b"])
    if "w" in LEFT.get(name, []):
        assert stored_bytes(faulty_s3, "w") == b"new" * 999


@pytest.mark.parametrize("fault", [SLOW_DOWN, Reset(), Truncated()], ids=type)
def test_trouble_that_lasts_is_outlasted(fault: Any, faulty_s3: FaultyS3) -> None:
    fill(faulty_s3)
    faulty_s3.proxy.inject(fault, on="GetObject", times=7)
    with uris.retry_for(30):
        assert uris.read_bytes(f"{faulty_s3.uri}/in/a") == b"a" * 3000
    assert faulty_s3.proxy.count("GetObject") == 8


@pytest.mark.parametrize("name", ["write", "read", "exists", "names of a bucket", "delete"])
def test_a_store_that_stays_away_is_an_error_that_says_so(name: str, faulty_s3: FaultyS3) -> None:
    fill(faulty_s3)
    with (
        faulty_s3.proxy.outage(),
        uris.retry_for(0.5),
        pytest.raises(StorageError, match="cannot be reached: check AWS_ENDPOINT_URL") as raised,
    ):
        call(CASES[name], faulty_s3)
    assert raised.value.retryable
    assert call(CASES[name], faulty_s3) == CASES[name].gives


def test_an_outage_is_outlasted(faulty_s3: FaultyS3) -> None:
    fill(faulty_s3)
    faulty_s3.server.kill()
    faulty_s3.proxy.inject(Reset(), on="GetObject", skip=1)
    logged = _Restart(faulty_s3)
    logging.getLogger("raykd.storage.remote.retry").addHandler(logged)
    try:
        with uris.retry_for(30):
            assert uris.read_bytes(f"{faulty_s3.uri}/in/a") == b"a" * 3000
    finally:
        logging.getLogger("raykd.storage.remote.retry").removeHandler(logged)
    assert "cannot be reached" in logged.text


class _Restart(logging.Handler):
    """Brings the server back at the moment when the wait for it is told."""

    def __init__(self, store: FaultyS3) -> None:
        super().__init__()
        self.text = ""
        self._store = store

    def emit(self, record: logging.LogRecord) -> None:
        self.text += record.getMessage()
        self._store.server.restart()


DENIALS = {
    "denied": (DENIED, "access is denied"),
    "expired": (EXPIRED, "the credentials have expired: renew them"),
    "skewed": (SKEWED, "the clock of this machine is wrong"),
    "signature": (BAD_SIGNATURE, "the secret key is wrong: check AWS_SECRET_ACCESS_KEY"),
    "key": (UNKNOWN_KEY, "does not know the access key: check AWS_ACCESS_KEY_ID"),
    "bucket": (NO_BUCKET, "the bucket does not exist: create it"),
}
DENIED_PAIRS = [
    *(("write", denial) for denial in DENIALS),
    *((name, "denied") for name, case in CASES.items() if "Head" not in case.on),
]


@pytest.mark.parametrize(("name", "denial"), dict.fromkeys(DENIED_PAIRS))
def test_a_denial_is_named_at_once(
    name: str, denial: str, faulty_s3: FaultyS3, caplog: pytest.LogCaptureFixture
) -> None:
    fill(faulty_s3)
    fault, sentence = DENIALS[denial]
    case = CASES[name]
    faulty_s3.proxy.inject(fault, on=case.on, times=None)
    with pytest.raises(StorageDeniedError, match=sentence) as raised:
        call(case, faulty_s3)
    assert not raised.value.retryable
    assert str(raised.value).startswith(faulty_s3.uri)
    assert SECRET_KEY not in str(raised.value) + caplog.text
    objects = {line.split("?")[0] for line in _faulty_lines(faulty_s3)}
    assert faulty_s3.proxy.count(faulty=True) == len(objects)


@pytest.mark.parametrize("name", ["exists", "size"])
@pytest.mark.parametrize(("status", "code"), [(403, "Forbidden"), (400, "ExpiredToken")])
def test_a_denial_without_a_body_is_one(
    name: str, status: int, code: str, faulty_s3: FaultyS3
) -> None:
    fill(faulty_s3)
    faulty_s3.proxy.inject(Answer(status=status, code=code), on="HeadObject", times=None)
    with pytest.raises(StorageDeniedError, match=r"denied|refuse|expired"):
        call(CASES[name], faulty_s3)
    assert faulty_s3.proxy.count(faulty=True) == 1


@pytest.mark.parametrize("name", ["write", "write many", "read"])
def test_a_missing_bucket_is_named(name: str, faulty_s3: FaultyS3) -> None:
    with pytest.raises((StorageError, FileNotFoundError), match="s3://raykd-nowhere"):
        CASES[name].call("s3://raykd-nowhere")


def test_a_wrong_secret_is_named(
    faulty_s3: FaultyS3, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another-secret-that-stays-one")
    fsspec.filesystem("s3").clear_instance_cache()
    with pytest.raises(StorageDeniedError, match="the secret key is wrong") as raised:
        uris.write_bytes(f"{faulty_s3.uri}/w", b"")
    assert "another-secret" not in str(raised.value) + caplog.text
    assert faulty_s3.proxy.count() == 1


def test_a_put_whose_answer_is_lost_is_still_created_once(faulty_s3: FaultyS3) -> None:
    faulty_s3.proxy.inject(Lost(), on="PutObject")
    uris.create_bytes(f"{faulty_s3.uri}/once", b"x")
    assert stored_bytes(faulty_s3, "once") == b"x"


def _faulty_lines(store: FaultyS3) -> list[str]:
    return [request.line for request in store.proxy.requests if request.fault is not None]
