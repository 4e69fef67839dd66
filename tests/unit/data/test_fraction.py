"""A fraction of the training rows: nested, alike in languages and classes, read like any data."""

import itertools
import math
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raykd.config.schema.data import DataConfig
from raykd.data.fraction import with_fraction
from raykd.data.lanes import BatchReader, addresses
from raykd.data.manifest import Manifest
from raykd.data.selection import initial_state, mixing_weights, rows_per_epoch
from raykd.data.stream import evaluation_rows
from raykd.errors import ConfigError, DataError

from tests.prepared import write_prepared
from tests.unit.data.test_stream import BATCH, MIXINGS, steps

LABELS = ("a", "b", "c")
SIZES = {"de": [9, 1, 14], "en": [30, 30, 3], "sw": [1, 1, 1, 1, 1, 1, 2, 7]}
FRACTIONS = st.floats(0.2, 1.0)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    path = tmp_path_factory.mktemp("prepared") / "data"
    return write_prepared(
        path, {"train": SIZES, "validation": {"de": [5], "en": [6]}}, labels=LABELS
    )


def kept(
    manifest: Manifest, fraction: float, *, seed: int = 17, by_class: bool = False
) -> dict[int, tuple[str, int]]:
    """Return the ids that a reader gets of the training split, with language and label."""
    config = DataConfig(uri=manifest.uri, fraction=fraction, fraction_seed=seed)
    reduced = with_fraction(manifest, config, by_class=by_class)
    batches = addresses(reduced, reduced.shards("train"))
    assert all(batch.rows for batch in batches)
    reader = BatchReader(reduced, num_threads=1)
    read = reader.submit(batches).result()
    reader.close()
    assert read.num_rows == rows_per_epoch(reduced, config)
    return {
        row_id: (manifest.languages[language], label)
        for row_id, language, label in zip(
            *(read[name].to_pylist() for name in ("row_id", "language", "label")), strict=True
        )
    }


@given(one=FRACTIONS, other=FRACTIONS, seed=st.integers(0, 2**31 - 1), by_class=st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_smaller_fraction_is_inside_a_larger_one(
    manifest: Manifest, one: float, other: float, seed: int, by_class: bool
) -> None:
    smaller, larger = (
        kept(manifest, fraction, seed=seed, by_class=by_class) for fraction in sorted((one, other))
    )
    assert smaller.items() <= larger.items()


@given(fraction=FRACTIONS, seed=st.integers(0, 2**31 - 1))
@settings(max_examples=60, deadline=None)
def test_each_class_of_each_language_keeps_its_share_to_the_nearest_row(
    manifest: Manifest, fraction: float, seed: int
) -> None:
    whole = Counter(kept(manifest, 1.0).values())
    # Nine groups, of which the smallest has three rows.
    assert len(whole) == 9
    assert min(whole.values()) >= 3
    found = Counter(kept(manifest, fraction, seed=seed, by_class=True).values())
    assert found == {group: math.floor(fraction * size + 0.5) for group, size in whole.items()}


@given(fraction=FRACTIONS)
@settings(max_examples=30, deadline=None)
def test_without_classes_each_language_keeps_its_share(
    manifest: Manifest, fraction: float
) -> None:
    found = Counter(language for language, _ in kept(manifest, fraction).values())
    assert found == {
        language: math.floor(fraction * sum(sizes) + 0.5) for language, sizes in SIZES.items()
    }


def test_the_seed_decides_which_rows_and_favours_none(manifest: Manifest) -> None:
    counts = Counter(i for seed in range(200) for i in kept(manifest, 0.5, seed=seed))
    # 200 draws of one half: 6 standard deviations of a binomial are 42.
    assert len(counts) == sum(map(sum, SIZES.values()))
    assert all(abs(count - 100) < 42 for count in counts.values())
    # Neighbours are drawn apart from each other: both are kept in a quarter of the draws.
    pairs = [kept(manifest, 0.5, seed=seed).keys() >= {40, 41} for seed in range(200)]
    assert 20 < sum(pairs) < 80


def test_the_whole_is_the_manifest_itself_and_nothing_is_read(tmp_path: Path) -> None:
    manifest = write_prepared(tmp_path / "data", {"train": {"en": [4]}})
    shutil.rmtree(tmp_path / "data" / "train")
    config = DataConfig(uri=manifest.uri)
    assert with_fraction(manifest, config, by_class=True) is manifest
    with pytest.raises(DataError, match=r"en-00000\.arrow: is missing"):
        with_fraction(manifest, replace(config, fraction=0.5), by_class=True)


def reduced(manifest: Manifest, **changes: object) -> tuple[Manifest, DataConfig]:
    config = DataConfig(
        uri=manifest.uri,
        num_lanes=6,
        shuffle_window=2,
        fraction=0.4,
        **changes,  # type: ignore[arg-type]
    )
    return with_fraction(manifest, config, by_class=True), config


@pytest.mark.parametrize("mixing", MIXINGS[:2], ids=["all", "temperature"])
@pytest.mark.parametrize("bucket_steps", [1, 3])
def test_steps_are_the_same_at_any_number_of_workers_and_after_any_restart(
    manifest: Manifest, mixing: object, bucket_steps: int
) -> None:
    part, config = reduced(manifest, mixing=mixing, bucket_steps=bucket_steps)
    start, count = initial_state(part, config), 14
    whole = steps(part, config, world_size=1, state=start, count=count)
    for world_size in (2, 3):
        assert steps(part, config, world_size=world_size, state=start, count=count) == whole
    for done in range(1, count):
        state = whole[done - 1][1]
        rest = steps(part, config, world_size=1 + done % 3, state=state, count=count - done)
        assert rest == whole[done:]


def test_an_epoch_has_each_kept_row_once(manifest: Manifest) -> None:
    part, config = reduced(manifest)
    expected = sorted(kept(manifest, 0.4, by_class=True))
    count = 2 * len(expected) // BATCH + 1
    read = steps(part, config, world_size=2, state=initial_state(part, config), count=count)
    flat = list(itertools.chain.from_iterable(rows for rows, _ in read))
    for epoch in (0, 1):
        assert sorted(i for i, e, _ in flat if e == epoch) == expected


def test_the_rows_keep_their_tokens(manifest: Manifest) -> None:
    part, config = reduced(manifest)
    all_of_it = replace(config, fraction=1.0)

    def tokens(data: Manifest, config: DataConfig) -> dict[int, tuple[int, ...]]:
        read = steps(data, config, world_size=1, state=initial_state(data, config), count=15)
        return {i: of_row for rows, _ in read for i, _, of_row in rows}

    assert tokens(part, config).items() <= tokens(manifest, all_of_it).items()


def test_a_temperature_weighs_languages_by_the_rows_that_are_kept(manifest: Manifest) -> None:
    part, config = reduced(manifest, mixing=MIXINGS[1])
    rows = Counter(language for language, _ in kept(manifest, 0.4, by_class=True).values())
    total = sum(count**0.3 for count in rows.values())
    weights = {language: count**0.3 / total for language, count in rows.items()}
    assert mixing_weights(part, config) == pytest.approx(weights)


def test_other_splits_and_languages_stay_whole(manifest: Manifest) -> None:
    part, config = reduced(manifest, languages=("en",))
    assert part.splits["validation"] == manifest.splits["validation"]
    whole = [shard for shard in manifest.shards("train") if shard.language != "en"]
    assert [shard for shard in part.shards("train") if shard.language != "en"] == whole
    found = evaluation_rows(part, config, split="validation", batch_size=4, worker=(0, 1))
    assert sum(len(rows) for rows in found) == 6


def test_tokens_are_scaled_and_the_fingerprint_is_its_own(manifest: Manifest) -> None:
    part, _ = reduced(manifest)
    for shard, before in zip(part.shards("train"), manifest.shards("train"), strict=True):
        assert shard.tokens == round(before.tokens * shard.rows / before.rows)
    config = DataConfig(uri=manifest.uri, fraction=0.4)
    others = [
        manifest,
        with_fraction(manifest, config, by_class=False),
        with_fraction(manifest, replace(config, fraction=0.5), by_class=True),
        with_fraction(manifest, replace(config, fraction_seed=1), by_class=True),
    ]
    assert len({part.fingerprint, *(other.fingerprint for other in others)}) == 5
    again = with_fraction(manifest, replace(config, languages=("de",)), by_class=True)
    assert again.fingerprint == part.fingerprint


def test_what_would_be_left_without_rows_is_named_with_what_is_enough(manifest: Manifest) -> None:
    sizes = Counter(kept(manifest, 1.0).values())
    config = DataConfig(uri=manifest.uri, fraction=0.02)
    few = {group: size for group, size in sizes.items() if 0.02 * size < 0.5}
    with pytest.raises(ConfigError) as told:
        with_fraction(manifest, config, by_class=True)
    for (language, label), size in few.items():
        assert f"class '{LABELS[label]}' of language '{language}' (it has {size})" in str(
            told.value
        )
    enough = math.ceil(5e5 / min(few.values())) / 1e6
    assert "data.fraction=0.02 leaves no row of class 'a' of language 'de'" in str(told.value)
    assert f"; set it to {enough:g} or more, or leave" in str(told.value)
    with_fraction(manifest, replace(config, fraction=enough), by_class=True)
    with pytest.raises(ConfigError, match=r"leaves no row of language 'sw' \(it has 15\); set it"):
        with_fraction(manifest, replace(config, fraction=0.03), by_class=False)


Change = Callable[[pa.Table], pa.Table]


def with_hole(column: str) -> Change:
    """Return what puts a null into the last row of a column."""

    def change(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index(column)
        values = [*table[column].to_pylist()[:-1], None]
        field = table.schema.field(place)
        return table.set_column(place, field, pa.array(values, field.type))

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_hole("row_id"), "record batch 0 cannot be read: .*null"),
        (with_hole("label"), "record batch 0 cannot be read: .*null"),
        (lambda table: table.slice(1), "it has 3 rows, but the manifest says 4"),
        (lambda table: table.select(["label", "row_id"]), "record batch 0 cannot be read"),
        (lambda table: table.rename_columns(["input_ids", "id", "language", "label"]), "columns"),
    ],
    ids=["no id", "no label", "too few", "too narrow", "other names"],
)
def test_a_shard_that_lies_is_named(tmp_path: Path, change: Change, message: str) -> None:
    manifest = write_prepared(tmp_path / "data", {"train": {"en": [4]}}, labels=("a", "b"))
    path = tmp_path / "data" / "train" / "en-00000.arrow"
    table = change(pa.ipc.open_file(pa.py_buffer(path.read_bytes())).read_all())
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    config = DataConfig(uri=manifest.uri, fraction=0.5)
    with pytest.raises(DataError, match=rf"en-00000\.arrow: .*{message}"):
        with_fraction(manifest, config, by_class=True)
