"""A file that grows is whole for its readers at any time, wherever it lies."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from raykd.errors import StorageError
from raykd.runs import append_log
from raykd.runs.append_log import AppendedFile
from raykd.storage import uris

LINES = [b"%03d\n" % number for number in range(40)]
"""Four bytes each."""


@pytest.fixture(autouse=True)
def three_lines_fill_a_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(append_log, "_FULL_BYTES", 12)


@pytest.fixture
def uri(storage_uri: str) -> str:
    return uris.join(storage_uri, "run", "metrics.jsonl")


@pytest.fixture
def remote_uri(s3_uri: str) -> str:
    return uris.join(s3_uri, "run", "metrics.jsonl")


def grow(uri: str, *, lines: list[bytes], at_once: int = 1, size: int = 0) -> AppendedFile:
    """Write some lines, brought to the store so many at once."""
    file = AppendedFile(uri, content=append_log.read_bytes(uri)[:size])
    for first in range(0, len(lines), at_once):
        file.append(b"".join(lines[first : first + at_once]))
        file.flush()
    return file


def content(first: int, end: int) -> bytes:
    return b"".join(LINES[first:end])


def pieces(uri: str) -> list[str]:
    return uris.list_names(uri.replace(".jsonl", ".parts"))


def test_nothing_is_there_before_it_is_opened(uri: str) -> None:
    assert (append_log.exists(uri), append_log.size_bytes(uri), append_log.read_bytes(uri)) == (
        False,
        0,
        b"",
    )


@pytest.mark.parametrize("at_once", [1, 2, 5, 40])
def test_readers_see_what_has_been_written_from_any_position(uri: str, at_once: int) -> None:
    file = grow(uri, lines=LINES[:-1], at_once=at_once)
    for _ in range(2):
        assert append_log.exists(uri)
        assert append_log.size_bytes(uri) == 4 * 39
        for start in (0, 1, 11, 12, 13, 80, 155):
            assert append_log.read_bytes(uri, start=start) == content(0, 39)[start:]
        file.close(is_done=True)


def test_in_a_store_it_lies_in_bounded_pieces_until_it_is_done(remote_uri: str) -> None:
    file = grow(remote_uri, lines=LINES[:7])
    assert pieces(remote_uri) == [
        "000000000000-000000000012.jsonl",
        "000000000012-000000000024.jsonl",
        "000000000024-000000000028.jsonl",
    ]
    assert not uris.exists(remote_uri)
    file.close(is_done=False)
    assert len(pieces(remote_uri)) == 3
    file.close(is_done=True)
    assert pieces(remote_uri) == []
    assert uris.read_bytes(remote_uri) == content(0, 7)


def test_a_file_that_is_opened_and_not_written_is_there(uri: str) -> None:
    AppendedFile(uri, content=b"").close(is_done=False)
    assert append_log.exists(uri)
    assert append_log.read_bytes(uri) == b""


@pytest.mark.parametrize("is_done", [False, True])
@pytest.mark.parametrize("num_kept", [0, 1, 3, 4, 6, 7])
def test_opened_again_it_goes_on_where_it_is_cut(
    uri: str, num_kept: int, *, is_done: bool
) -> None:
    grow(uri, lines=LINES[:7]).close(is_done=is_done)
    file = grow(uri, lines=[], size=4 * num_kept)
    assert append_log.read_bytes(uri) == content(0, num_kept)
    file.close(is_done=False)
    grow(uri, lines=LINES[20:25], size=4 * num_kept).close(is_done=True)
    assert append_log.read_bytes(uri) == content(0, num_kept) + content(20, 25)
    assert pieces(uri) == []


def test_what_a_killed_writer_has_not_removed_is_read_once(remote_uri: str) -> None:
    grow(remote_uri, lines=LINES[:8]).close(is_done=False)
    left = uris.join(remote_uri.replace(".jsonl", ".parts"), "000000000024-000000000028.jsonl")
    uris.write_bytes(left, content(6, 7))
    assert append_log.read_bytes(remote_uri) == content(0, 8)
    # A cut that leaves less than either piece removes both.
    grow(remote_uri, lines=[], size=4 * 6).close(is_done=False)
    assert append_log.read_bytes(remote_uri) == content(0, 6)


def test_a_writer_killed_while_it_sealed_is_followed_by_another(remote_uri: str) -> None:
    grow(remote_uri, lines=LINES[:7]).close(is_done=False)
    uris.write_bytes(remote_uri, content(0, 7))
    assert append_log.read_bytes(remote_uri) == content(0, 7)
    grow(remote_uri, lines=LINES[5:6], size=4 * 5).close(is_done=False)
    assert append_log.read_bytes(remote_uri) == content(0, 6)


def test_pieces_that_were_fetched_are_read_and_continued_here(
    remote_uri: str, tmp_path: Path
) -> None:
    grow(remote_uri, lines=LINES[:7]).close(is_done=False)
    here = str(tmp_path / "metrics.jsonl")
    with uris.local_copy(remote_uri.replace(".jsonl", ".parts")) as fetched:
        shutil.copytree(fetched, tmp_path / "metrics.parts")
    assert append_log.read_bytes(here) == content(0, 7)
    grow(here, lines=LINES[6:9], size=4 * 6).close(is_done=True)
    assert Path(here).read_bytes() == content(0, 9)
    assert not (tmp_path / "metrics.parts").exists()


def test_a_piece_that_is_gone_is_told(remote_uri: str, caplog: pytest.LogCaptureFixture) -> None:
    grow(remote_uri, lines=LINES[:7]).close(is_done=False)
    middle = "000000000012-000000000024.jsonl"
    uris.delete(uris.join(remote_uri.replace(".jsonl", ".parts"), middle))
    assert append_log.read_bytes(remote_uri) == content(0, 3)
    told = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert told == [f"{remote_uri}: a piece of it is gone; what follows is left out"]


def during_a_reading(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], None]) -> None:
    """Have something happen each time between the listing of pieces and the reading of them."""
    read_many = uris.read_many

    def read(places: list[str]) -> dict[str, bytes]:
        # What happens may read too.
        monkeypatch.setattr(uris, "read_many", read_many)
        happens()
        monkeypatch.setattr(uris, "read_many", read)
        return read_many(places)

    monkeypatch.setattr(uris, "read_many", read)


def test_pieces_that_are_replaced_while_they_are_read_are_read_anew(
    remote_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = grow(remote_uri, lines=LINES[:1])
    coming = iter([1, 2, 3])

    def happens() -> None:
        if (number := next(coming, None)) is None:
            file.close(is_done=True)
        else:
            file.append(LINES[number])
            file.flush()

    during_a_reading(monkeypatch, happens)
    assert append_log.read_bytes(remote_uri) == content(0, 3)


def test_a_file_that_is_sealed_while_it_is_read_is_read_whole(
    remote_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = grow(remote_uri, lines=LINES[:7])
    during_a_reading(monkeypatch, lambda: file.close(is_done=True))
    assert append_log.read_bytes(remote_uri) == content(0, 7)


def test_pieces_that_never_stay_are_an_error_that_may_pass(
    remote_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = grow(remote_uri, lines=LINES[:1])

    def happens() -> None:
        file.append(b"x")
        file.flush()

    monkeypatch.setattr(append_log, "_FULL_BYTES", 1_000)
    during_a_reading(monkeypatch, happens)
    with pytest.raises(StorageError, match="read it again"):
        append_log.read_bytes(remote_uri)
