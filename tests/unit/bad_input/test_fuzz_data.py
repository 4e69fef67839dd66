"""Whatever a manifest or a shard holds: rows, or an error that names it, and never a crash."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raykd.config.schema.data import DataConfig
from raykd.data.manifest import Manifest, read_manifest
from raykd.data.stream import evaluation_rows
from raykd.errors import DataError, PublicationError

from tests.small_runs import small_data
from tests.unit.bad_input.spoiling import seal

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2)
    ),
    max_leaves=4,
)
_fast = settings(
    max_examples=120,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data set that the tests of this module change, and put right again."""
    path = tmp_path_factory.mktemp("fuzz") / "data"
    small_data(path)
    return path


@st.composite
def _changes(draw: st.DrawFn) -> tuple[list[float], Any, bool]:
    """Return a way through a document, what is put there, and whether to remove instead."""
    way = draw(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=6))
    return way, draw(_VALUES), draw(st.integers(0, 3)) == 0


def _changed(document: Any, way: list[float], value: Any, *, removes: bool) -> Any:
    """Return a document with one value, at the end of a way, replaced or removed."""
    section, key = document, None
    for share in way:
        inner = document if key is None else section[key]
        if not isinstance(inner, dict | list) or not inner:
            break
        keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
        section, key = inner, keys[int(share * len(keys))]
    if removes:
        del section[key]
    else:
        section[key] = value
    return document


@_fast
@given(_changes())
def test_a_changed_manifest_is_read_or_told(
    data: Path, change: tuple[list[float], Any, bool]
) -> None:
    way, value, removes = change
    path = data / "manifest.json"
    original = path.read_bytes()
    try:
        document = _changed(json.loads(original), way, value, removes=removes)
        seal(path, json.dumps(document).encode())
        with contextlib.suppress(DataError, PublicationError):
            manifest = read_manifest(str(data))
            assert all(".." not in s.path for shards in manifest.splits.values() for s in shards)
    finally:
        seal(path, original)


@_fast
@given(st.binary(max_size=200))
def test_noise_is_no_manifest(data: Path, noise: bytes) -> None:
    path = data / "manifest.json"
    original = path.read_bytes()
    try:
        seal(path, noise)
        with pytest.raises(PublicationError):
            read_manifest(str(data))
    finally:
        seal(path, original)


def _read(manifest: Manifest) -> int:
    config = DataConfig(uri=manifest.uri, languages=("de",))
    return sum(
        len(rows)
        for rows in evaluation_rows(manifest, config, split="train", batch_size=4, worker=(0, 1))
    )


@_fast
@given(
    changes=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6
    ),
    share=st.floats(0, 1) | st.just(1.0),
)
def test_changed_bytes_are_rows_or_told(
    data: Path, changes: list[tuple[float, int]], share: float
) -> None:
    manifest = read_manifest(str(data))
    path = data / "train" / "de-00000.arrow"
    original = path.read_bytes()
    content = bytearray(original)
    for place, value in changes:
        content[int(place * len(content))] = value
    try:
        path.write_bytes(content[: round(share * len(content))])
        with contextlib.suppress(DataError):
            assert _read(manifest) == 20
    finally:
        path.write_bytes(original)
