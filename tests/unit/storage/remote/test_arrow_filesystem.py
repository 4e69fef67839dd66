"""Libraries that speak to Arrow's file systems reach all places that raykd does."""

import uuid
from pathlib import Path

import fsspec
from pyarrow import fs
from raykd.storage import uris
from raykd.storage.remote.filesystem import arrow_filesystem


def test_a_directory_of_a_store_is_no_object(s3_uri: str) -> None:
    filesystem, path = arrow_filesystem(f"{s3_uri}/run/ray")
    filesystem.create_dir(path, recursive=True)
    assert uris.list_files(s3_uri) == {}
    with filesystem.open_output_stream(f"{path}/state.json") as stream:
        stream.write(b"{}")
    assert uris.list_files(s3_uri) == {"run/ray/state.json": 2}


def test_stores_that_arrow_does_not_know_are_reached() -> None:
    name = uuid.uuid4().hex
    filesystem, path = arrow_filesystem(f"memory://{name}")
    with filesystem.open_output_stream(f"{path}/state.json") as stream:
        stream.write(b"{}")
    assert fsspec.filesystem("memory").cat(f"/{name}/state.json") == b"{}"


def test_a_local_place_is_one_of_arrow_itself(tmp_path: Path) -> None:
    filesystem, path = arrow_filesystem(str(tmp_path))
    assert isinstance(filesystem, fs.LocalFileSystem)
    assert path == str(tmp_path)
