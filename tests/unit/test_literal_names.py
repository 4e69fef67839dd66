"""Names are literal in every store: none is a pattern, a chain of file systems or an option."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from raykd.errors import ConfigError
from raykd.storage import uris
from raykd.storage.published.directory import fetched, is_committed, read_published
from raykd.storage.published.ownership import holding, remove
from raykd.storage.published.publishing import publishing
from raykd.storage.remote.listing import stored
from raykd.storage.remote.transfers import download, upload

NEIGHBOURS = ("a", "ab", "axb", "layers=2", "layers=4", "2", "x", "b", "a b")
"""What the names below would match, were they patterns."""

ODD = (
    "layers=[2,4]",
    "[ab]",
    "a*b",
    "**",
    "x?y",
    "a::b",
    "s3::file:x",
    " a ",
    "a#b%20c+d",
    "{a,b}",
    "~éß中",
    "a'b\"$c;&",
)

names = st.text(alphabet="ab2x=*?[]{}!,:;#%+~$&'\"() é中", min_size=1, max_size=9)


@pytest.fixture(params=["local", "moto", "rclone"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Yield a place with files whose names are plain, all of which are to stay as they are."""
    fixtures = {"moto": "s3_uri", "rclone": "rclone_uri"}
    uri = str(tmp_path / "store")
    if request.param in fixtures:
        uri = f"{request.getfixturevalue(fixtures[request.param])}/in"
    contents = {f"{uri}/{name}/{name}": name.encode() for name in NEIGHBOURS}
    uris.write_many(contents)
    yield uri
    assert uris.read_many(list(contents)) == contents
    assert uris.list_files(uri) == {f"{name}/{name}": len(name) for name in NEIGHBOURS}


def literally_used(uri: str, name: str, scratch: Path) -> None:
    """Do everything that raykd does with a place of some name, and with a file of that name."""
    here = uris.join(uri, f"{name}_")
    file = uris.join(here, name)
    uris.write_bytes(file, b"12345")
    assert uris.exists(file)
    assert uris.size_bytes(file) == 5
    assert uris.read_bytes(file, start=3) == b"45"
    assert uris.read_many([file, uris.join(here, "none")]) == {file: b"12345"}
    uris.write_many({file: b"1234", uris.join(here, "f"): b"f"})
    assert uris.list_names(here) == sorted([name, "f"])
    assert uris.list_files(here) == {name: 4, "f": 1}
    assert {each for each in stored(here) if each} == {name, "f"}
    assert holding(here).foreign == tuple(sorted([name, "f"]))
    (scratch / name).write_bytes(b"from here")
    if not uris.is_local(uri):
        upload([(scratch / name, file)])
        download([(file, scratch / f"{name}-back")])
        assert (scratch / f"{name}-back").read_bytes() == b"from here"
    uris.delete(file)
    assert uris.list_names(here) == ["f"]
    uris.delete_many(here, ["f"])
    assert not uris.exists(here)


def literally_published(uri: str, name: str) -> None:
    """Publish a directory of some name twice, and remove it."""
    here = uris.join(uri, f"{name}_")
    name = name.replace(":", "_")  # which no manifest may name: elsewhere it is a disk's
    for text in ("old", "new"):
        with publishing(here, kind="test", overwrites=True) as publication:
            (publication.path / name).write_text(text)
    with fetched(read_published(here, kind="test")) as path:
        assert (path / name).read_text() == "new"
    with uris.local_copy(here) as path:
        assert (path / name).read_text() == "new"
    remove(here, kind="test")
    assert not is_committed(here)
    assert not uris.exists(here)


def test_odd_names_are_those_names(store: str, tmp_path: Path) -> None:
    for name in ODD:
        literally_used(store, name, tmp_path)
        literally_published(store, name)


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(name="]")
@example(name="[!a]")
@given(name=names)
def test_any_name_is_that_name(store: str, name: str, tmp_path: Path) -> None:
    literally_used(store, name, tmp_path)
    literally_published(store, name)


@pytest.mark.parametrize(
    ("place", "complaint"),
    [
        ("a//b", "has a part that is empty"),
        ("a/../b", "has a part that is empty, . or .."),
        ("./b", "has a part that is empty, . or .."),
        ("a?versionId=1", "names a version"),
    ],
)
def test_what_a_store_would_take_for_another_place_is_refused(
    s3_uri: str, place: str, complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        uris.write_bytes(f"{s3_uri}/{place}", b"x")
    assert str(caught.value).startswith(f"{s3_uri}/{place}: ")
    assert uris.list_names(s3_uri) == []
