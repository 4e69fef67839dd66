"""A probe names what is wrong with a store before a run writes there, and leaves nothing."""

import re
from pathlib import Path

import pytest
from raykd.errors import ConfigError, StorageDeniedError, StorageError
from raykd.storage import uris
from raykd.storage.remote.filesystem import checksum_options, is_local
from raykd.storage.remote.probe import (
    CHECKSUM,
    CREATE,
    PREFIX,
    RANGE_CHECKSUM,
    check_storage,
    creates_exclusively,
    probe,
)

from tests.conftest import FaultyS3, set_s3_environment
from tests.servers import faults
from tests.servers.rclone import ACCESS_KEY, SECRET_KEY

STEPS = ["write", "read", "read a range", "list", "delete", CREATE]
STEPS_OF_S3 = [*STEPS, CHECKSUM, RANGE_CHECKSUM]
OPERATIONS = {
    "write": "PutObject",
    "read": "GetObject",
    "list": "ListObjects",
    "delete": "DeleteObject",
}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raykd.storage.remote.probe.PROBE_RETRY_SECONDS", 0.1)


@pytest.mark.parametrize("folder", ["", "runs/a"])
def test_a_store_that_is_right_passes_and_stays_as_it_was(storage_uri: str, folder: str) -> None:
    uris.write_bytes(uris.join(storage_uri, "x"), b"")
    uri = uris.join(storage_uri, folder).rstrip("/")
    result = probe(uri)
    assert [step.name for step in result.steps] == (STEPS if is_local(uri) else STEPS_OF_S3)
    assert all(step.seconds >= 0 for step in result.steps)
    assert result.is_exclusive
    assert uris.list_names(storage_uri) == ["x"]


def test_a_store_that_ignores_conditions_is_told_apart(rclone_uri: str) -> None:
    assert not probe(rclone_uri).is_exclusive
    assert not creates_exclusively(f"{rclone_uri}/x")
    assert uris.list_files(rclone_uri) == {}


def test_a_store_that_sends_the_checksum_of_the_whole_for_a_part_is_told_apart(
    rclone_uri: str,
) -> None:
    granted = {step.name: step.is_granted for step in probe(rclone_uri).steps}
    assert granted[CHECKSUM]
    assert not granted[RANGE_CHECKSUM]


def test_a_store_that_refuses_checksums_is_told_apart(faulty_s3: FaultyS3) -> None:
    refusal = faults.Answer(status=400, code="InvalidArgument")
    faulty_s3.proxy.inject(refusal, on="PutObject", skip=3)
    (last,) = probe(faulty_s3.uri).steps[-1:]
    assert (last.name, last.is_granted) == (CHECKSUM, False)


def test_a_user_who_wants_checksums_hears_why_a_store_fails(
    rclone_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION"):
        monkeypatch.setenv(name, "when_supported")
    checksum_options.cache_clear()
    with pytest.raises(
        StorageError, match=r"cannot read a range .* unset AWS_RESPONSE_CHECKSUM_VALIDATION"
    ):
        check_storage(rclone_uri)


def test_a_store_that_knows_no_conditions_is_told_apart(faulty_s3: FaultyS3) -> None:
    refusal = faults.Answer(status=501, code="NotImplemented")
    faulty_s3.proxy.inject(refusal, on="PutObject", skip=1, times=2)
    assert not probe(faulty_s3.uri).is_exclusive


def test_each_bucket_is_tried_once(faulty_s3: FaultyS3) -> None:
    for name in ("a/b", "c"):
        assert not creates_exclusively(f"{faulty_s3.uri}/{name}")
    assert faulty_s3.proxy.count("PutObject") == 2


def test_trouble_that_passes_says_nothing_about_a_store(faulty_s3: FaultyS3) -> None:
    faulty_s3.proxy.inject(faults.SLOW_DOWN, on=PREFIX, probability=0.3, times=None)
    assert not probe(faulty_s3.uri).is_exclusive
    assert faulty_s3.proxy.count(faulty=True) > 0


@pytest.mark.parametrize("step", OPERATIONS)
@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (faults.DENIED, "access is denied"),
        (faults.EXPIRED, "the credentials have expired: renew them"),
        (faults.SKEWED, "the clock of this machine is wrong"),
        (faults.BAD_SIGNATURE, "the secret key is wrong"),
        (faults.UNKNOWN_KEY, "the server does not know the access key"),
        (faults.NO_BUCKET, "the bucket does not exist"),
    ],
    ids=["denied", "expired", "clock", "secret", "key", "bucket"],
)
def test_a_refusal_names_the_step_and_the_reason(
    faulty_s3: FaultyS3, impatient: None, step: str, fault: faults.Answer, says: str
) -> None:
    # S3 answers HEAD without a word, so the reason is known where a body comes.
    faulty_s3.proxy.inject(fault, on=rf"{OPERATIONS[step]}\b", times=2)
    for examine in (probe, check_storage):
        with pytest.raises(StorageDeniedError) as error:
            examine(faulty_s3.uri)
        expected = rf"cannot {step} at {re.escape(faulty_s3.uri)}: {says}"
        assert re.match(expected, str(error.value))
        assert SECRET_KEY not in str(error.value)
        assert ACCESS_KEY not in str(error.value)
        faulty_s3.proxy.heal()
        faulty_s3.proxy.inject(fault, on=rf"{OPERATIONS[step]}\b", times=2)


def test_a_bucket_that_is_not_there_is_named(rclone_uri: str) -> None:
    with pytest.raises(StorageDeniedError, match=r"cannot write at .*: the bucket does not exist"):
        check_storage(f"{rclone_uri}-other/runs")


def test_wrong_credentials_are_named_and_not_shown(
    rclone_uri: str, monkeypatch: pytest.MonkeyPatch, faulty_s3: FaultyS3
) -> None:
    secret = "a-secret-that-is-wrong"  # noqa: S105
    endpoint = faulty_s3.server.endpoint
    set_s3_environment(monkeypatch, endpoint, access_key=ACCESS_KEY, secret_key=secret)
    with pytest.raises(StorageDeniedError, match="the secret key is wrong") as error:
        check_storage(faulty_s3.uri)
    assert secret not in str(error.value)


def test_a_store_that_is_away_is_named_soon(faulty_s3: FaultyS3, impatient: None) -> None:
    with (
        faulty_s3.proxy.outage(),
        pytest.raises(StorageError, match=r"cannot be reached: check AWS_ENDPOINT_URL"),
    ):
        check_storage(faulty_s3.uri)


def test_a_store_that_loses_what_it_was_given_is_named(faulty_s3: FaultyS3) -> None:
    faulty_s3.proxy.inject(faults.Answer(status=404, code="NoSuchKey"), on="GetObject")
    with pytest.raises(StorageError, match=r"cannot read at .*: what was written is not there"):
        check_storage(faulty_s3.uri)


def test_a_store_that_changes_what_it_was_given_is_named(faulty_s3: FaultyS3) -> None:
    faulty_s3.proxy.inject(faults.Shortened(), on="GetObject", times=None)
    with pytest.raises(StorageError, match="what is read is not what was written"):
        check_storage(faulty_s3.uri)
    assert uris.list_files(faulty_s3.uri) == {}


def test_a_check_asks_for_no_more_than_runs_need(faulty_s3: FaultyS3, tmp_path: Path) -> None:
    check_storage(faulty_s3.uri)
    counts = faulty_s3.proxy.counts()
    assert counts.keys() - {"HeadObject"} == set(OPERATIONS.values())
    assert counts.total() <= len(STEPS)
    check_storage(str(tmp_path / "x"))
    assert list(tmp_path.iterdir()) == []


def test_a_uri_with_credentials_is_refused_and_not_shown() -> None:
    for examine in (probe, check_storage):
        with pytest.raises(
            ConfigError, match=r"a URI with credentials in it.*AWS_PROFILE"
        ) as error:
            examine("s3://key:secret@bucket/runs")
        assert "secret@" not in str(error.value)


def test_a_store_of_an_unknown_kind_is_named() -> None:
    with pytest.raises(StorageError, match="foo://x: ValueError: Protocol not known: foo"):
        probe("foo://x")
