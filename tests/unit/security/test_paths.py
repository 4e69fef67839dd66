"""Paths that others wrote, in manifests, never lead out of their directory."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from raykd.data.manifest import Manifest, read_manifest
from raykd.errors import DataError, PublicationError, StorageDeniedError
from raykd.storage import uris
from raykd.storage.published.directory import (
    COMMITTED,
    MANIFEST,
    Published,
    read_published,
    verify,
)
from raykd.storage.published.publishing import publishing
from raykd.storage.remote.names import is_inside

from tests.small_runs import small_data

OUTSIDE = [
    "",
    ".",
    "..",
    "/",
    "//",
    "/etc/passwd",
    "//host/share",
    "../x",
    "a/../../x",
    "a/..",
    "a/../b",
    "./x",
    "a/./b",
    "a//b",
    "a/",
    "..\\x",
    "a\\..\\..\\x",
    "C:/x",
    "C:x",
    "c:\\x",
    "\\\\host\\share",
    "file:///etc/passwd",
    "s3://bucket/x",
    "simplecache::s3://bucket/x",
    "x\0",
    "x\0/../y",
]
INSIDE = ["x", "a/b", "...", "a..b", "..a", "a b", "tokenizer/tokenizer.json", "ä/ß-00000.arrow"]


@pytest.mark.parametrize("name", OUTSIDE, ids=repr)
def test_a_path_out_of_a_published_directory_is_recognised(name: str) -> None:
    assert not is_inside(name)


@pytest.mark.parametrize("name", INSIDE, ids=repr)
def test_a_path_in_a_published_directory_is_allowed(name: str) -> None:
    assert is_inside(name)


@given(st.text(alphabet=st.sampled_from("./\\:\0ab~"), max_size=12))
def test_whatever_is_allowed_stays_inside(name: str) -> None:
    if is_inside(name):
        root = "/root/of/all"
        assert os.path.normpath(os.path.join(root, name)) == f"{root}/{name}"  # noqa: PTH118
        assert uris.join("s3://bucket/root", name) == f"s3://bucket/root/{name}"


def reseal(uri: str, change: dict[str, Any]) -> None:
    """Change a published manifest and commit it again, as whoever may write there can."""
    where = uris.join(uri, MANIFEST)
    text = json.dumps(json.loads(uris.read_bytes(where)) | change).encode()
    uris.write_bytes(where, text)
    commit = hashlib.sha256(text).hexdigest().encode()
    uris.write_bytes(uris.join(uri, COMMITTED), commit)


@pytest.fixture
def published(tmp_path: Path) -> Published:
    uri = str(tmp_path / "thing")
    with publishing(uri, kind="thing") as publication:
        (publication.path / "file").write_bytes(b"content")
    return read_published(uri, kind="thing")


@pytest.mark.parametrize("name", OUTSIDE, ids=repr)
def test_a_manifest_that_names_a_file_outside_is_refused(name: str, published: Published) -> None:
    reseal(published.uri, {"files": {name: {"bytes": 1, "sha256": "0"}}})
    with pytest.raises(PublicationError, match="is outside of the directory"):
        read_published(published.uri, kind="thing")


@pytest.mark.parametrize("name", ["../../escaped", "/absolute", "a/../../x", "a//x"])
def test_an_object_whose_key_leads_elsewhere_is_not_fetched(
    name: str, s3_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "a" / "b"))
    s3: Any = boto3.Session().client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    for key in ("config.json", name):
        s3.put_object(Bucket=s3_uri.removeprefix("s3://"), Key=f"model/{key}", Body=b"{}")
    with (
        pytest.raises(StorageDeniedError, match="which would lie outside of it"),
        uris.local_copy(f"{s3_uri}/model"),
    ):
        pass
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_unusual_names_and_markers_of_folders_are_fetched(s3_uri: str) -> None:
    s3: Any = boto3.Session().client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    for key in ("", "logs/", "logs/12:30", "..."):
        s3.put_object(Bucket=s3_uri.removeprefix("s3://"), Key=f"model/{key}", Body=b"")
    with uris.local_copy(f"{s3_uri}/model") as path:
        found = {p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()}
    assert found == {"logs/12:30", "..."}


@pytest.mark.parametrize("is_directory", [False, True])
def test_a_link_out_of_a_published_directory_is_no_file_of_it(
    is_directory: bool, tmp_path: Path
) -> None:
    """Whoever can make links on this disk can read it; the hash still has to agree."""
    uri = str(tmp_path / "thing")
    with publishing(uri, kind="thing") as publication:
        (publication.path / "folder").mkdir()
        (publication.path / "folder" / "file").write_bytes(b"content")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_bytes(b"secret")
    taken = Path(uri, "folder") if is_directory else Path(uri, "folder", "file")
    taken.rename(tmp_path / "before")
    taken.symlink_to(tmp_path / "outside" / ("" if is_directory else "file"))
    with pytest.raises(PublicationError, match="file: has 6 bytes"):
        verify(read_published(uri, kind="thing"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return small_data(tmp_path_factory.mktemp("prepared") / "data")


@pytest.mark.parametrize("path", OUTSIDE, ids=repr)
def test_a_shard_outside_of_its_data_is_refused(path: str, data: Manifest, tmp_path: Path) -> None:
    source = json.loads(Path(data.uri, MANIFEST).read_text())
    source["content"]["splits"]["train"][0]["path"] = path
    (tmp_path / MANIFEST).write_text(json.dumps(source))
    reseal(str(tmp_path), {})
    with pytest.raises(DataError, match=r"splits\.train\[0\]\.path is .*, not a "):
        read_manifest(str(tmp_path))
