"""raykd clean shows what is garbage, and removes it only when told to."""

import os
import time
from argparse import ArgumentTypeError
from pathlib import Path

import pytest
from raykd.cli.arguments import parse_age
from raykd.cli.main import main
from raykd.cli.progress import console
from raykd.storage import uris
from raykd.storage.remote.probe import CHECKSUM, CREATE, RANGE_CHECKSUM

from tests.unit.storage.published.killing import (
    CHECKPOINT,
    killed_while_writing,
    run_at,
    temporary,
)

__all__ = ["temporary"]


@pytest.fixture
def uri(tmp_path: Path, temporary: Path) -> str:
    """Return a run whose writer was killed two hours ago."""
    run = run_at(str(tmp_path / "runs" / "a-0123abcd"))
    killed_while_writing(f"{run}/{CHECKPOINT}", "checkpoint")
    for path in (tmp_path / "runs").rglob("*"):
        os.utime(path, (time.time() - 7_200,) * 2)
    return run


def test_nothing_is_removed_without_being_told_to(
    uri: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "width", 300)  # long paths are folded otherwise
    files = uris.list_files(uri)
    assert main(["clean", uri]) == 0
    printed = capsys.readouterr().out
    for fact in ("partial", f"{uri}/checkpoints/.step-00000010.", "1.0 kB", "2.0 h", "died"):
        assert fact in printed
    assert "1 found, 1.0 kB" in printed
    assert "nothing is removed; --delete does it" in printed
    assert uris.list_files(uri) == files


def test_it_is_removed_where_asked(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["clean", uri, f"{uri}/checkpoints", "--delete"]) == 0
    assert "removed: 1 found, 1.0 kB" in capsys.readouterr().out
    assert uris.list_names(f"{uri}/checkpoints") == []
    assert main(["clean", uri, "--delete", "--older-than", "0s"]) == 0
    assert capsys.readouterr().out == "nothing to clean\n"


def test_what_is_young_stays(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["clean", uri, "--delete", "--older-than", "3h"]) == 0
    assert capsys.readouterr().out == "nothing to clean\n"
    assert len(uris.list_names(f"{uri}/checkpoints")) == 1


@pytest.mark.parametrize("name", ["nowhere", "foo://x"])
def test_a_wrong_uri_ends_with_2(
    tmp_path: Path, temporary: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["clean", name if "://" in name else str(tmp_path / name)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("raykd: ")
    assert captured.err.count("\n") == 1


def test_a_bucket_that_is_not_there_ends_with_2(
    s3_uri: str, temporary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["clean", f"{s3_uri}-other"]) == 2
    assert "the bucket does not exist" in capsys.readouterr().err


def test_an_age_is_read() -> None:
    ages = {"90s": 90, "30m": 1_800, "12h": 43_200, "2d": 172_800}
    assert {text: parse_age(text) for text in ages} == ages


@pytest.mark.parametrize("text", ["", "2", "h", "-1h", "1w", "1.5h", "1h "])
def test_what_is_no_age_is_named(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="is no age; give one such as 30m, 12h or 2d"):
        parse_age(text)


def test_the_doctor_says_what_a_store_does(
    s3_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "storage", f"{s3_uri}/runs"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    steps = ["write", "read", "read a range", "list", "delete", CREATE, CHECKSUM, RANGE_CHECKSUM]
    assert [(" ".join(row[:-2]), row[-1]) for row in rows] == [(step, "ok") for step in steps]
    assert main(["doctor", "storage", f"{s3_uri}-other/runs"]) == 1
    assert "cannot write at" in capsys.readouterr().err
