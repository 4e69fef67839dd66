"""What is listed while others write."""

import asyncio
from typing import Any

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
