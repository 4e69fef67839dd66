"""The examples of every step: the same at any number of workers, exact after any restart."""

import dataclasses
import itertools
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from raykd.config.schema.data import (
    AdaptiveMixingConfig,
    DataConfig,
    FixedMixingConfig,
    MixingConfig,
    TemperatureMixingConfig,
)
from raykd.data.lanes import BatchAddress, BatchReader, addresses
from raykd.data.manifest import Manifest
from raykd.data.selection import (
    DataState,
    initial_state,
    mixing_weights,
    training_reads,
    with_weights,
)
from raykd.data.stream import evaluation_rows, training_rows
from raykd.errors import ConfigError, DataError

from tests.prepared import write_prepared

BATCH = 8
TRAIN = {"de": [5, 3, 4], "en": [7, 7, 7, 7, 2], "sw": [3]}
NUM_ROWS = 45
NUM_STEPS = 2 * NUM_ROWS // BATCH + 2


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    path = tmp_path_factory.mktemp("prepared") / "data"
    return write_prepared(path, {"train": TRAIN, "validation": {"de": [4, 1], "en": [9]}})


def config_of(
    manifest: Manifest, mixing: MixingConfig | None, *, bucket_steps: int = 1
) -> DataConfig:
    return DataConfig(
        uri=manifest.uri,
        num_lanes=6,
        shuffle_window=2,
        mixing=mixing,
        bucket_steps=bucket_steps,
    )


Step = tuple[list[tuple[int, int, tuple[int, ...]]], DataState]


def steps(
    manifest: Manifest, config: DataConfig, *, world_size: int, state: DataState, count: int
) -> list[Step]:
    """Merge what all workers read: (row id, epoch, tokens) of each step, and the state after."""
    streams = [
        training_rows(
            manifest,
            config,
            seed=1,
            global_batch_size=BATCH,
            worker=(rank, world_size),
            state=state,
        )
        for rank in range(world_size)
    ]
    merged = []
    for parts in itertools.islice(zip(*streams, strict=True), count):
        rows = [
            (int(row_id), int(epoch), tuple(tokens.tolist()))
            for part in parts
            for row_id, epoch, tokens in zip(
                part.rows.row_ids_B,
                part.rows.epochs_B,
                np.split(part.rows.token_ids_T, np.cumsum(part.rows.lengths_B)[:-1])
                if len(part.rows)
                else [],
                strict=True,
            )
        ]
        assert len({str(part.state) for part in parts}) == 1
        merged.append((sorted(rows), parts[0].state))
    for stream in streams:
        stream.close()  # type: ignore[attr-defined]  # a generator
    return merged


MIXINGS = [
    None,
    MixingConfig(temperature=TemperatureMixingConfig(exponent=0.3)),
    MixingConfig(fixed=FixedMixingConfig(weights={"de": 1, "en": 1, "sw": 2})),
]


@pytest.mark.parametrize("mixing", MIXINGS, ids=["all", "temperature", "fixed"])
@pytest.mark.parametrize("world_size", [2, 3, 5])
@pytest.mark.parametrize("bucket_steps", [1, 4])
def test_steps_are_the_same_at_any_number_of_workers(
    manifest: Manifest, world_size: int, mixing: MixingConfig | None, bucket_steps: int
) -> None:
    config = config_of(manifest, mixing, bucket_steps=bucket_steps)
    start = initial_state(manifest, config)
    alone = steps(manifest, config, world_size=1, state=start, count=NUM_STEPS)
    assert steps(manifest, config, world_size=world_size, state=start, count=NUM_STEPS) == alone


@pytest.mark.parametrize("mixing", MIXINGS, ids=["all", "temperature", "fixed"])
@pytest.mark.parametrize("bucket_steps", [1, 4])
def test_restart_at_every_position_continues_exactly(
    manifest: Manifest, mixing: MixingConfig | None, bucket_steps: int
) -> None:
    config = config_of(manifest, mixing, bucket_steps=bucket_steps)
    start = initial_state(manifest, config)
    whole = steps(manifest, config, world_size=2, state=start, count=NUM_STEPS)
    for done in range(1, NUM_STEPS):
        rest = steps(
            manifest, config, world_size=3, state=whole[done - 1][1], count=NUM_STEPS - done
        )
        assert rest == whole[done:]


@pytest.mark.parametrize("bucket_steps", [1, 3])
def test_no_row_is_lost_or_repeated_in_an_epoch(manifest: Manifest, bucket_steps: int) -> None:
    config = config_of(manifest, None, bucket_steps=bucket_steps)
    start = initial_state(manifest, config)
    read = steps(manifest, config, world_size=1, state=start, count=NUM_STEPS)
    flat = list(itertools.chain.from_iterable(rows for rows, _ in read))
    for epoch in (0, 1):
        assert sorted(i for i, e, _ in flat if e == epoch) == list(range(NUM_ROWS))
    orders = [[i for rows, _ in read for i, e, _ in rows if e == epoch] for epoch in (0, 1)]
    assert orders[0] != orders[1]


def test_mixed_languages_each_pass_through_all_their_rows(manifest: Manifest) -> None:
    config = config_of(manifest, MIXINGS[2])
    start = initial_state(manifest, config)
    read = steps(manifest, config, world_size=1, state=start, count=60)
    counts = Counter(i for rows, _ in read for i, _, _ in rows)
    # Rows 42 to 44 are the three of sw, drawn half of the time: 240 of 480 rows.
    assert sum(counts[i] for i in (42, 43, 44)) == read[-1][1].rows["sw"]
    assert max(counts[i] for i in (42, 43, 44)) - min(counts[i] for i in (42, 43, 44)) <= 1
    assert sum(counts.values()) == 60 * BATCH


def test_weights_of_a_temperature_lie_between_proportional_and_uniform(
    manifest: Manifest,
) -> None:
    weights = mixing_weights(manifest, config_of(manifest, MIXINGS[1]))
    assert weights == pytest.approx(
        {
            name: rows**0.3 / (12**0.3 + 30**0.3 + 3**0.3)
            for name, rows in {"de": 12, "en": 30, "sw": 3}.items()
        }
    )


ADAPTIVE = MixingConfig(adaptive=AdaptiveMixingConfig())
ADAPTED = {3: {"de": 0.1, "en": 0.1, "sw": 0.8}, 7: {"de": 0.7, "en": 0.2, "sw": 0.1}}
"""Step to the weights that an evaluation after it decides."""


def adapted_steps(
    manifest: Manifest, *, world_size: int, state: DataState, last: int
) -> Iterator[Step]:
    """Yield the steps of a run whose weights change twice, as a run reads them."""
    config = config_of(manifest, ADAPTIVE)
    while state.step < last:
        stop = min([step for step in (*ADAPTED, last) if step > state.step])
        read = steps(manifest, config, world_size=world_size, state=state, count=stop - state.step)
        state = read[-1][1]
        if stop in ADAPTED:
            state = with_weights(state, ADAPTED[stop])
        yield from read[:-1]
        yield read[-1][0], state


def test_restart_continues_exactly_with_weights_that_change_in_between(
    manifest: Manifest,
) -> None:
    start = initial_state(manifest, config_of(manifest, ADAPTIVE))
    whole = list(adapted_steps(manifest, world_size=1, state=start, last=10))
    assert [state.weights for _, state in whole] == [
        *[None] * 2,
        *[ADAPTED[3]] * 4,
        *[ADAPTED[7]] * 4,
    ]
    for done in range(10):
        reached = whole[done - 1][1] if done else start
        saved = json.loads(json.dumps(dataclasses.asdict(reached), sort_keys=True))
        for world_size in (2, 3):
            rest = adapted_steps(
                manifest, world_size=world_size, state=DataState(**saved), last=10
            )
            assert list(rest) == whole[done:]


def test_weights_decide_what_is_drawn_from_their_step_on(manifest: Manifest) -> None:
    config = config_of(manifest, ADAPTIVE)
    start = initial_state(manifest, config)
    assert mixing_weights(manifest, config) == dict.fromkeys(TRAIN, 1 / 3)
    only = {"de": 0.0, "en": 1.0, "sw": 0.0}
    before = steps(manifest, config, world_size=1, state=start, count=4)
    changed = with_weights(before[-1][1], only)
    after = steps(manifest, config, world_size=1, state=changed, count=4)
    assert changed.rows == before[-1][1].rows
    assert min(changed.rows.values()) > 0
    assert after[-1][1].rows == changed.rows | {"en": changed.rows["en"] + 4 * BATCH}


def test_the_order_of_weights_in_a_mapping_does_not_matter(manifest: Manifest) -> None:
    config = config_of(manifest, ADAPTIVE)
    start = initial_state(manifest, config)
    weights = ADAPTED[3]
    backwards = dict(reversed(weights.items()))
    read = [
        steps(manifest, config, world_size=1, state=with_weights(start, w), count=5)
        for w in (weights, backwards)
    ]
    assert [rows for rows, _ in read[0]] == [rows for rows, _ in read[1]]


def test_weights_of_other_languages_are_refused(manifest: Manifest) -> None:
    start = initial_state(manifest, config_of(manifest, ADAPTIVE))
    with pytest.raises(
        ValueError, match=r"are of \['de'\], but the streams are \['de', 'en', 'sw'"
    ):
        with_weights(start, {"de": 1.0})


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
def test_evaluation_covers_every_row_once(manifest: Manifest, world_size: int) -> None:
    config = config_of(manifest, None)
    found = [
        int(row_id)
        for rank in range(world_size)
        for rows in evaluation_rows(
            manifest, config, split="validation", batch_size=4, worker=(rank, world_size)
        )
        for row_id in rows.row_ids_B
    ]
    assert sorted(found) == list(range(NUM_ROWS, NUM_ROWS + 14))


def test_languages_can_be_chosen(manifest: Manifest) -> None:
    config = DataConfig(uri=manifest.uri, languages=("sw",), num_lanes=2)
    start = initial_state(manifest, config)
    read = steps(manifest, config, world_size=1, state=start, count=3)
    assert {i for rows, _ in read for i, _, _ in rows} == {42, 43, 44}


def test_unknown_language_split_and_weight_say_what_there_is(manifest: Manifest) -> None:
    with pytest.raises(ConfigError, match=r"\['fr'\] have no rows.*\['de', 'en', 'sw'\]"):
        initial_state(manifest, DataConfig(uri=manifest.uri, languages=("fr", "de")))
    with pytest.raises(DataError, match=r"no split 'test'.*\['train', 'validation'\]"):
        initial_state(manifest, DataConfig(uri=manifest.uri, train_split="test"))
    mixing = MixingConfig(fixed=FixedMixingConfig(weights={"de": 1}))
    with pytest.raises(ConfigError, match=r"must name the languages \['de', 'en', 'sw'\]"):
        mixing_weights(manifest, config_of(manifest, mixing))


def test_a_shard_that_lies_is_named(tmp_path: Path) -> None:
    manifest = write_prepared(tmp_path / "data", {"train": {"en": [5]}})
    shard = tmp_path / "data" / "train" / "en-00000.arrow"
    shard.write_bytes(shard.read_bytes()[:200])
    config = DataConfig(uri=manifest.uri)
    stream = training_rows(
        manifest,
        config,
        seed=0,
        global_batch_size=2,
        worker=(0, 1),
        state=initial_state(manifest, config),
    )
    with pytest.raises(DataError, match=r"en-00000\.arrow: record batch 0 cannot be read"):
        next(stream)


def row_ids(manifest: Manifest, batches: tuple[BatchAddress, ...]) -> set[int]:
    reader = BatchReader(manifest)
    found = {i for b in batches for i in reader.submit([b]).result()["row_id"].to_pylist()}
    reader.close()
    return found


@pytest.mark.parametrize("mixing", [None, MixingConfig(temperature=TemperatureMixingConfig())])
@pytest.mark.parametrize("bucket_steps", [1, 3])
def test_it_is_known_beforehand_which_record_batches_steps_read(
    manifest: Manifest, mixing: MixingConfig | None, bucket_steps: int
) -> None:
    config = dataclasses.replace(
        config_of(manifest, mixing, bucket_steps=bucket_steps), num_lanes=3, shuffle_window=1
    )
    options = {"seed": 3, "global_batch_size": BATCH}
    read: set[tuple[int, int]] = set()
    sizes = []
    steps = training_rows(
        manifest, config, worker=(0, 1), state=initial_state(manifest, config), **options
    )
    for number, step in enumerate(itertools.islice(steps, NUM_STEPS), start=1):
        read |= set(zip(step.rows.epochs_B.tolist(), step.rows.row_ids_B.tolist(), strict=True))
        if number % bucket_steps:
            continue  # which rows of a bucket fall into its first steps is not known beforehand
        known: set[tuple[int, int]] = set()
        windows: list[set[tuple[int, int]]] = []
        for stream in training_reads(manifest, config, num_steps=number, **options):
            every = row_ids(manifest, addresses(manifest, stream.shards))
            known |= {(epoch, row) for epoch in range(stream.whole_epochs) for row in every}
            windows.append({(stream.whole_epochs, row) for row in row_ids(manifest, stream.last)})
        for window in windows:
            assert not window & known
            known |= window
        assert read <= known
        sizes.append((len(read), len(known)))
    assert sizes == sorted(sizes)
    assert sizes[0][1] < NUM_ROWS


def test_of_lanes_that_are_not_begun_nothing_is_read(tmp_path: Path) -> None:
    manifest = write_prepared(tmp_path / "data", {"train": {"de": [4] * 40}})
    config = DataConfig(uri=manifest.uri, num_lanes=2, shuffle_window=3)
    # 27 rows: 14 and 13 of the lanes, whose windows have 12 each.
    (stream,) = training_reads(manifest, config, seed=0, global_batch_size=9, num_steps=3)
    assert (stream.whole_epochs, len(stream.last)) == (0, 2 * 2 * 3)
    (stream,) = training_reads(manifest, config, seed=0, global_batch_size=1, num_steps=1)
    assert len(stream.last) == 3
    (stream,) = training_reads(manifest, config, seed=0, global_batch_size=160, num_steps=2)
    assert (stream.whole_epochs, stream.last) == (2, ())
