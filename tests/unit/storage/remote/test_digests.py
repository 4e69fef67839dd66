"""The hash of a large file is remembered until the file is another."""

import hashlib
import os
import tempfile
from pathlib import Path

import pytest
from raykd.storage import uris
from raykd.storage.remote.digests import LEAST_REMEMBERED, stored_digest


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"raykd-digests-{os.getuid()}"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_large_file_is_remembered_and_a_small_one_is_not(notes: Path, storage_uri: str) -> None:
    small, large = b"small", b"x" * LEAST_REMEMBERED
    for content, expected in ((small, 0), (large, 1), (large, 1)):
        uri = uris.join(storage_uri, str(len(content)))
        if not uris.exists(uri):
            uris.write_bytes(uri, content)
        assert stored_digest(uri) == sha256(content)
        assert len(list(notes.glob("*"))) == expected


def test_what_is_remembered_is_believed_only_of_the_same_file(notes: Path, tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"a" * LEAST_REMEMBERED)
    stored_digest(str(path))
    (note,) = notes.glob("*")
    note.write_text("0" * 64)
    assert stored_digest(str(path)) == "0" * 64
    times = path.stat()
    path.write_bytes(b"b" * LEAST_REMEMBERED)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert stored_digest(str(path)) == sha256(path.read_bytes())


def test_a_broken_note_and_a_place_for_none_are_no_matter(notes: Path, tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"a" * LEAST_REMEMBERED)
    notes.touch()
    assert stored_digest(str(path)) == sha256(path.read_bytes())
    notes.unlink()
    stored_digest(str(path))
    (note,) = notes.glob("*")
    note.write_text("half")
    assert stored_digest(str(path)) == sha256(path.read_bytes())
