"""What is listed while others write."""

import asyncio
from typing import Any

import boto3
import pytest
import s3fs
from raykd.storage import uris
from raykd.storage.remote.listing import stored


def test_what_comes_while_a_store_is_listed_is_there_or_not(
    s3_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = uris.join(s3_uri, "checkpoints", "step-00000050")
    listed = s3fs.S3FileSystem._lsdir

    async def overtaken(self: Any, path: str, *args: Any, **kwargs: Any) -> Any:
        names = await listed(self, path, *args, **kwargs)
        if not names:
            await asyncio.to_thread(uris.write_bytes, uris.join(place, "part"), b"1")
        return names

    for names in (stored, uris.list_files, uris.list_names):
        with monkeypatch.context() as patch:
            patch.setattr(s3fs.S3FileSystem, "_lsdir", overtaken)
            assert set(names(place)) <= {"part"}
        assert set(names(place)) == {"part"}
        uris.delete(uris.join(place, "part"))
        assert not names(place)


def test_what_another_process_writes_or_deletes_is_seen_after_a_listing(
    s3_server: str, s3_uri: str
) -> None:
    place = uris.join(s3_uri, "run")
    commit = uris.join(place, "COMMITTED")
    uris.write_bytes(uris.join(place, "other"), b"1")
    another = boto3.Session().client("s3", endpoint_url=s3_server)
    named = {"Bucket": s3_uri.removeprefix("s3://"), "Key": "run/COMMITTED"}
    assert uris.list_names(place) == ["other"]
    another.put_object(**named, Body=b"1")
    assert uris.exists(commit)
    assert "COMMITTED" in uris.list_names(place)
    another.delete_object(**named)
    assert not uris.exists(commit)
