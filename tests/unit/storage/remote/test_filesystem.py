"""When checksums are sent and compared follows from where a client goes, and from the user."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from raykd.storage.remote.filesystem import checksum_options, filesystem, retrying_filesystem

ENDPOINT = "http://127.0.0.1:9"
CALCULATION = "request_checksum_calculation"
VALIDATION = "response_checksum_validation"
WHEN_REQUIRED = {CALCULATION: "when_required", VALIDATION: "when_required"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a user who has set nothing a home of their own."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".aws").mkdir()
    checksum_options.cache_clear()
    yield tmp_path
    checksum_options.cache_clear()


def chosen() -> dict[str, Any]:
    """Return what both kinds of file systems are told."""
    options = [
        make("s3://bucket/key")[0].config_kwargs for make in (filesystem, retrying_filesystem)
    ]
    first, second = ({k: v for k, v in each.items() if "checksum" in k} for each in options)
    assert first == second
    return first


def test_amazons_own_store_is_left_to_its_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen() == {}
    checksum_options.cache_clear()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://s3.cn-north-1.amazonaws.com.cn")
    assert chosen() == {}


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_an_endpoint_of_the_environment_is_another_store(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, ENDPOINT)
    assert chosen() == WHEN_REQUIRED


@pytest.mark.parametrize(
    "lines",
    [
        f"[default]\nendpoint_url = {ENDPOINT}\n",
        f"[default]\nservices = mine\n[services mine]\ns3 =\n  endpoint_url = {ENDPOINT}\n",
    ],
    ids=["profile", "service"],
)
def test_an_endpoint_of_a_profile_is_another_store(lines: str, home: Path) -> None:
    (home / ".aws" / "config").write_text(lines)
    assert chosen() == WHEN_REQUIRED


@pytest.mark.parametrize(
    "given",
    [
        {"endpoint_url": ENDPOINT},
        {"client_kwargs": {"endpoint_url": ENDPOINT}},
        {"profile": "mine"},
    ],
    ids=["argument", "client", "profile"],
)
def test_an_endpoint_that_fsspec_is_told_is_another_store(
    given: dict[str, Any], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / ".aws" / "config").write_text(f"[profile mine]\nendpoint_url = {ENDPOINT}\n")
    monkeypatch.setitem(fsspec.config.conf, "s3", given)
    assert chosen() == WHEN_REQUIRED


def test_what_the_user_has_set_stays(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", ENDPOINT)
    monkeypatch.setenv(f"AWS_{CALCULATION.upper()}", "when_supported")
    (home / ".aws" / "config").write_text(f"[default]\n{VALIDATION} = when_supported\n")
    assert chosen() == {CALCULATION: "when_supported", VALIDATION: "when_supported"}
    monkeypatch.setitem(
        fsspec.config.conf, "s3", {"config_kwargs": {CALCULATION: "when_required"}}
    )
    assert chosen() == {CALCULATION: "when_required", VALIDATION: "when_supported"}
