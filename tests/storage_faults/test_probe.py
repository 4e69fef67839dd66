"""The probe of a store tells what it may do there, on servers that differ, and leaves nothing."""

import re

import fsspec
import pytest
from raykd.errors import StorageDeniedError, StorageError
from raykd.storage import uris
from raykd.storage.remote.probe import CREATE, check_storage, creates_exclusively, probe

from tests.conftest import FaultyS3
from tests.servers.faults import DENIED, EXPIRED, INTERNAL_ERROR, SKEWED, Fault, Lost, Shortened
from tests.servers.rclone import SECRET_KEY
from tests.storage_faults.stores import stored_names


def test_a_server_that_ignores_conditions_is_recognised(rclone_uri: str) -> None:
    found = probe(f"{rclone_uri}/runs")
    names = [step.name for step in found.steps]
    assert names == ["write", "read", "read a range", "list", "delete", CREATE, *names[6:]]
    assert not found.is_exclusive
    assert not creates_exclusively(f"{rclone_uri}/runs/x")
    assert uris.list_names(rclone_uri) == []


def test_a_server_that_knows_conditions_is_recognised(s3_uri: str) -> None:
    assert probe(f"{s3_uri}/runs").is_exclusive
    assert creates_exclusively(f"{s3_uri}/runs/x")
    assert uris.list_names(s3_uri) == []


@pytest.mark.parametrize(
    ("step", "on", "fault", "sentence"),
    [
        ("write", "PutObject", EXPIRED, "have expired"),
        ("write", "PutObject", SKEWED, "clock of this machine"),
        ("read", "GetObject", DENIED, "access is denied"),
        ("list", "ListObjects", DENIED, "access is denied"),
        ("delete", "DeleteObject", DENIED, "access is denied"),
    ],
)
def test_the_step_that_is_denied_is_named_at_once(
    step: str, on: str, fault: Fault, sentence: str, faulty_s3: FaultyS3
) -> None:
    faulty_s3.proxy.inject(fault, on=on, times=1)
    with pytest.raises(StorageDeniedError, match=f"cannot {step} at .*{sentence}") as raised:
        check_storage(f"{faulty_s3.uri}/runs")
    assert SECRET_KEY not in str(raised.value)
    assert faulty_s3.proxy.count(on, faulty=True) == 1
    assert stored_names(faulty_s3) == []


@pytest.mark.parametrize("fault", [INTERNAL_ERROR, Lost()], ids=type)
def test_a_brief_fault_does_not_fail_the_probe(fault: Fault, faulty_s3: FaultyS3) -> None:
    for on in ("PutObject", "GetObject", "ListObjects", "DeleteObject"):
        faulty_s3.proxy.inject(fault, on=on)
    probe(f"{faulty_s3.uri}/runs")
    assert faulty_s3.proxy.count(faulty=True) == 4
    assert stored_names(faulty_s3) == []


def test_a_store_that_changes_what_it_is_given_is_an_error(faulty_s3: FaultyS3) -> None:
    faulty_s3.proxy.inject(Shortened(), on="GetObject", times=None)
    with pytest.raises(StorageError, match="what is read is not what was written"):
        check_storage(f"{faulty_s3.uri}/runs")
    assert stored_names(faulty_s3) == []


def test_a_wrong_endpoint_is_named(rclone_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # A port that nothing listens on: it is the discard service's, and reserved.
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("raykd.storage.remote.probe.PROBE_RETRY_SECONDS", 0.5)
    fsspec.filesystem("s3").clear_instance_cache()
    with pytest.raises(StorageError, match=r"cannot write at .*check AWS_ENDPOINT_URL") as raised:
        check_storage(f"{rclone_uri}/runs")
    assert "127.0.0.1:9" in str(raised.value)


def test_a_missing_bucket_is_named(rclone_uri: str) -> None:
    with pytest.raises(StorageDeniedError, match=re.escape("the bucket does not exist")):
        check_storage("s3://raykd-nowhere/runs")
