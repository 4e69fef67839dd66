"""A cache says what its teacher says, for any batch of its rows, or refuses."""

import contextlib
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from raykd.batch import LayersWanted, Rows
from raykd.config.schema.data import MaskingConfig
from raykd.config.schema.run import TaskName
from raykd.errors import PublicationError
from raykd.scores import ProjectedScores
from raykd.storage import uris
from raykd.teachers.cache.building import Progress, Watch, build_cache, help_build, is_built
from raykd.teachers.cache.key import Masks
from raykd.teachers.cache.parts import Coverage
from raykd.teachers.cache.payload import Payload
from raykd.teachers.cache.reading import opened_cache
from raykd.teachers.cached import CachedTeacher
from raykd.teachers.ensemble import TeacherEnsemble

from tests.unit.cached_teachers.caches import HIDDEN, LOGITS, Subject, in_half, subject

TASKS: list[TaskName] = [
    "masked_lm",
    "causal_lm",
    "sequence_classification",
    "token_classification",
]


def assert_says_the_same(of: Subject, uri: str, payload: Payload, *, off: float = 1e-5) -> None:
    with contextlib.ExitStack() as stack:
        cached = of.cached(stack, uri, payload)
        for shard, indices in ((0, [3, 0, 19, 7]), (1, [60, 2]), (0, [5])):
            batch = of.batch(indices, shard=shard)
            expected_PK = of.teacher(batch).logits_PK
            torch.testing.assert_close(cached(batch).logits_PK, expected_PK, atol=off, rtol=off)


@pytest.mark.parametrize("name", TASKS)
def test_all_scores_are_read_back_for_any_batch(
    storage_uri: str, tmp_path: Path, name: TaskName
) -> None:
    of = subject(tmp_path / "data", name)
    progress = of.build(storage_uri, LOGITS)
    assert (progress.rows, progress.total_rows, progress.reused_rows) == (111, 111, 0)
    assert_says_the_same(of, storage_uri, LOGITS)


@pytest.mark.parametrize("name", TASKS[:2])
@pytest.mark.parametrize(
    ("precision", "error"), [("exact", 1e-5), ("float16", 2e-3), ("int8", 2e-2)]
)
def test_hidden_states_and_the_head_make_the_scores(
    tmp_path: Path, name: TaskName, precision: str, error: float
) -> None:
    of = subject(tmp_path / "data", name)
    payload = Payload(mode="hidden", precision=precision)  # type: ignore[arg-type]
    uri = str(tmp_path / "cache")
    of.build(uri, payload)
    assert_says_the_same(of, uri, payload, off=error)
    with contextlib.ExitStack() as stack:
        scores = of.cached(stack, uri, payload)(of.batch([1, 2])).scores
        assert isinstance(scores, ProjectedScores)
        assert scores.features_PD.shape[1] == 16


def test_a_teacher_in_bfloat16_is_kept_as_it_is(tmp_path: Path) -> None:
    of, uri = in_half(subject(tmp_path / "data")), str(tmp_path / "cache")
    of.build(uri, HIDDEN)
    with contextlib.ExitStack() as stack:
        cached = of.cached(stack, uri, HIDDEN)
        batch = of.batch([4])
        expected, found = of.teacher(batch).scores, cached(batch).scores
    assert isinstance(expected, ProjectedScores)
    assert isinstance(found, ProjectedScores)
    assert found.features_PD.dtype == torch.bfloat16
    assert torch.equal(found.weight_KD, expected.weight_KD)
    torch.testing.assert_close(found.logits(), expected.logits(), atol=0.02, rtol=0.02)


def test_rows_without_scored_positions_and_no_rows_at_all(tmp_path: Path) -> None:
    of, uri = subject(tmp_path / "data"), str(tmp_path / "cache")
    of.build(uri, HIDDEN)
    shard = of.manifest.splits["train"][0]
    counts = [len(of.batch([index]).positions_P) for index in range(shard.rows)]
    empty = counts.index(0)
    with contextlib.ExitStack() as stack:
        cached = of.cached(stack, uri, HIDDEN)
        for batch in (of.batch([empty]), of.task.collate(Rows.empty())):
            assert cached(batch).logits_PK.shape == (0, 64)
        both = of.batch([empty, counts.index(max(counts)), empty])
        assert cached(both).scores.num_positions == max(counts)


@pytest.mark.parametrize(
    "payload",
    [
        LOGITS,
        HIDDEN,
        Payload(mode="hidden", precision="int8"),
        Payload(mode="top_k", size=4),
        Payload(mode="sampled", size=4),
    ],
    ids=str,
)
def test_nothing_is_read_from_the_device_of_a_batch(tmp_path: Path, payload: Payload) -> None:
    of, uri = subject(tmp_path / "data"), str(tmp_path / "cache")
    of.build(uri, payload)
    # A tensor on meta has no values: whoever reads one fails.
    elsewhere = torch.device("meta")
    key, languages = of.key(payload), of.manifest.languages
    batch = of.batch([3, 8, 1])
    with opened_cache(uri, key, languages=languages) as cache:
        teachers = {"all": CachedTeacher(cache, device=elsewhere)}
        ensemble = TeacherEnsemble(
            teachers,
            serves_NG=torch.tensor([[True, False]]),
            shares_NG=torch.tensor([[0.5, 0.0]]),
        )
        (signal,) = ensemble(replace(batch, languages_B=torch.tensor([0, 1, 0])).to(elsewhere))
    num_positions = len(signal.batch.positions_P)
    assert 0 < num_positions < len(batch.positions_P)
    scores = signal.outputs.scores
    assert (scores.num_positions, scores.num_classes) == (num_positions, 64)
    assert scores.logits().device == elsewhere
    assert signal.weights_Q is not None
    assert signal.weights_Q.device == elsewhere


def test_the_insides_of_layers_are_asked_of_the_teacher_itself(tmp_path: Path) -> None:
    of, uri = subject(tmp_path / "data"), str(tmp_path / "cache")
    of.build(uri, HIDDEN)
    with contextlib.ExitStack() as stack:
        cached = of.cached(stack, uri, HIDDEN)
        with pytest.raises(ValueError, match="only the scores are kept"):
            cached(of.batch([0]), LayersWanted(hidden=(1,)))


def test_masks_of_every_epoch_have_records_of_their_own(tmp_path: Path) -> None:
    of, uri = subject(tmp_path / "data"), str(tmp_path / "cache")
    assert of.build(uri, LOGITS, epochs=2).total_rows == 2 * 90 + 21
    with contextlib.ExitStack() as stack:
        cached = of.cached(stack, uri, LOGITS)
        for epoch in range(2):
            batch = of.batch([3, 8, 1], epoch=epoch)
            torch.testing.assert_close(
                cached(batch).logits_PK, of.teacher(batch).logits_PK, atol=1e-5, rtol=1e-5
            )
        with pytest.raises(PublicationError, match="does not have row"):
            cached(of.batch([3], epoch=2))


def test_the_epoch_does_not_matter_where_nothing_is_masked(tmp_path: Path) -> None:
    of, uri = subject(tmp_path / "data", "causal_lm"), str(tmp_path / "cache")
    of.build(uri, HIDDEN)
    with contextlib.ExitStack() as stack:
        cached = of.cached(stack, uri, HIDDEN)
        assert cached(of.batch([3], epoch=7)).scores.num_positions


def test_a_longer_run_and_another_language_add_to_what_is_there(tmp_path: Path) -> None:
    of, uri = subject(tmp_path / "data"), str(tmp_path / "cache")
    key = of.key(LOGITS)
    first = of.build(uri, LOGITS, languages=["de"])
    assert (first.rows, is_built(uri, key, of.coverages())) == (20 + 8, False)
    second = of.build(uri, LOGITS)
    assert (second.rows, second.reused_rows) == (111, 28)
    third = of.build(uri, LOGITS, epochs=2)
    assert (third.rows, third.reused_rows) == (201, 111)
    assert is_built(uri, key, of.coverages(epochs=2))
    again = of.build(uri, LOGITS)
    assert (again.rows, again.reused_rows) == (111, 111)
    assert_says_the_same(of, uri, LOGITS)


def test_a_build_that_stops_goes_on_where_it_stood(storage_uri: str, tmp_path: Path) -> None:
    of = subject(tmp_path / "data")
    asked = iter([False, True])
    stopped = of.build(storage_uri, LOGITS, Watch(should_stop=lambda: next(asked)))
    assert 0 < stopped.rows < stopped.total_rows
    assert not stopped.is_whole
    assert not is_built(storage_uri, of.key(LOGITS), of.coverages())
    with (
        pytest.raises(PublicationError, match="holds no teacher's outputs yet"),
        opened_cache(storage_uri, of.key(LOGITS), languages=of.manifest.languages),
    ):
        pass
    whole = of.build(storage_uri, LOGITS)
    assert (whole.reused_rows, whole.is_whole) == (stopped.rows, True)
    assert_says_the_same(of, storage_uri, LOGITS)


def some(of: Subject, *ranges: range) -> list[Coverage]:
    """Return some rows of the larger training shard, beside all that others ask for."""
    first, *others = of.coverages(languages=["en"])
    return [replace(first, ranges=ranges), *others]


def test_only_rows_that_are_needed_are_kept_and_others_are_added(
    storage_uri: str, tmp_path: Path
) -> None:
    of, key = subject(tmp_path / "data"), subject(tmp_path / "data").key(LOGITS)
    evaluated = of.coverages(languages=["en"])[-1].rows

    def build(*ranges: range) -> Progress:
        return build_cache(storage_uri, key, some(of, *ranges), of.writer, Watch())

    first = build(range(10, 20), range(40, 50))
    assert (first.rows, first.reused_rows) == (20 + evaluated, 0)
    with contextlib.ExitStack() as stack:
        cached = of.cached(stack, storage_uri, LOGITS)
        batch = of.batch([12, 49, 10], shard=1)
        torch.testing.assert_close(cached(batch).logits_PK, of.teacher(batch).logits_PK)
        for rows in ([8, 9], [20, 21], [38, 39], [50, 51]):
            with pytest.raises(PublicationError, match="does not have row"):
                cached(of.batch(rows, shard=1))
    assert not is_built(storage_uri, key, some(of, range(15, 41)))
    second = build(range(5, 45))
    assert (second.rows, second.reused_rows) == (40 + evaluated, 15 + evaluated)
    assert is_built(storage_uri, key, some(of, range(5, 50)))
    third = build(range(70))
    assert (third.rows, third.reused_rows) == (70 + evaluated, 45 + evaluated)
    with contextlib.ExitStack() as stack:
        cached = of.cached(stack, storage_uri, LOGITS)
        batch = of.batch([*range(70)], shard=1)
        torch.testing.assert_close(
            cached(batch).logits_PK, of.teacher(batch).logits_PK, atol=1e-5, rtol=1e-5
        )


def test_those_who_help_write_parts_that_the_builder_finds(
    storage_uri: str, tmp_path: Path
) -> None:
    of = subject(tmp_path / "data")
    key, asked = of.key(LOGITS), iter([False, False, True])
    help_build(storage_uri, key, of.coverages(), of.writer, lambda: next(asked))
    notes = [each for each in uris.list_files(storage_uri) if each.endswith(".json")]
    assert len(notes) == 2
    assert not is_built(storage_uri, key, of.coverages())
    told: list[Progress] = []

    def after_the_first_part(progress: Progress) -> None:
        told.append(progress)
        if len(told) == 2:
            help_build(storage_uri, key, of.coverages(), of.writer, lambda: False)

    watch = Watch(on_progress=after_the_first_part)
    whole = of.build(storage_uri, LOGITS, watch)
    assert (told[0].rows, told[0].reused_rows) == (whole.reused_rows, whole.reused_rows)
    assert 0 < whole.reused_rows < whole.rows == whole.total_rows == 111
    records = [each for each in uris.list_files(storage_uri) if each.endswith(".arrow")]
    notes = [
        each
        for each in uris.list_files(storage_uri)
        if each.endswith(".json") and "records/" in each
    ]
    assert len(records) == len(notes) == len(told) + 1
    assert_says_the_same(of, storage_uri, LOGITS)


def test_another_key_is_refused_with_both_fingerprints(tmp_path: Path) -> None:
    of, uri = subject(tmp_path / "data"), str(tmp_path / "cache")
    of.build(uri, LOGITS)
    key = of.key(LOGITS)
    others = {
        "teacher: it has weights, this run other": replace(key, teacher="other"),
        "dtype: it has float32, this run bfloat16": replace(key, dtype="bfloat16"),
        f"data: it has {key.data[:12]}, this run other": replace(key, data="other"),
        f"tokenizer: it has {key.tokenizer[:12]}, this run other": replace(key, tokenizer="other"),
        'another masks: it has .*"seed": 3.* this run .*"seed": 4': replace(
            key, masks=Masks(masking=MaskingConfig(), seed=4)
        ),
        "another payload: .*logits.*hidden": replace(key, payload=HIDDEN),
    }
    for message, other in others.items():
        assert other.name != key.name
        with (
            pytest.raises(PublicationError, match=message),
            opened_cache(uri, other, languages=of.manifest.languages),
        ):
            pass
        with pytest.raises(PublicationError, match=message):
            build_cache(uri, other, of.coverages(), of.writer, Watch())


def test_a_row_that_is_asked_with_other_tokens_or_labels_is_refused(tmp_path: Path) -> None:
    of, uri = subject(tmp_path / "data"), str(tmp_path / "cache")
    of.build(uri, HIDDEN)
    batch = of.batch([3, 1])
    other_tokens, other_labels = batch.input_ids_BL.clone(), batch.labels_P.clone()
    other_tokens[1, 2] += 1
    other_labels[-1] += 1
    with contextlib.ExitStack() as stack:
        cached = of.cached(stack, uri, HIDDEN)
        for wrong in (
            replace(batch, input_ids_BL=other_tokens),
            replace(batch, labels_P=other_labels),
            replace(batch, epochs_B=batch.epochs_B, row_ids_B=batch.row_ids_B.flip(0)),
        ):
            with pytest.raises(PublicationError, match=r"other tokens or labels \(fingerprint"):
                cached(wrong)
        for gone in (
            replace(batch, row_ids_B=batch.row_ids_B + 10_000),
            replace(batch, languages_B=1 - batch.languages_B),
        ):
            with pytest.raises(PublicationError, match=r"does not have row \d+"):
                cached(gone)


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_torn_records_are_refused_and_named(tmp_path: Path, damage: str) -> None:
    of, uri = subject(tmp_path / "data"), str(tmp_path / "cache")
    of.build(uri, LOGITS)
    (path,) = Path(uri, "records/0/train/de-00000").glob("*.arrow")
    content = bytearray(path.read_bytes())
    if damage == "flip":
        for place in range(len(content) // 4, len(content) // 2):
            content[place] ^= 1
        path.write_bytes(content)
    elif damage == "cut":
        path.write_bytes(content[:-1])
    else:
        path.unlink()
    with contextlib.ExitStack() as stack:
        cached = of.cached(stack, uri, LOGITS)
        with pytest.raises(
            PublicationError, match=r"de-00000/000000000-000000020\..{12}\.arrow.*raykd cache"
        ):
            cached(of.batch(list(range(20))))


def test_a_fetched_file_is_compared_with_its_hash(s3_uri: str, tmp_path: Path) -> None:
    of = subject(tmp_path / "data")
    of.build(s3_uri, LOGITS)
    directory = f"{s3_uri}/records/0/train/de-00000"
    (name,) = (each for each in uris.list_names(directory) if each.endswith(".arrow"))
    where = f"{directory}/{name}"
    content = bytearray(uris.read_bytes(where))
    content[len(content) // 2] ^= 1
    uris.write_bytes(where, bytes(content))
    with contextlib.ExitStack() as stack:
        cached = of.cached(stack, s3_uri, LOGITS)
        with pytest.raises(PublicationError, match="is not what was written"):
            cached(of.batch([0]))


def test_a_build_that_is_killed_keeps_its_finished_parts(tmp_path: Path) -> None:
    of, uri, smooth = subject(tmp_path / "data"), str(tmp_path / "bumpy"), str(tmp_path / "smooth")
    program = "tests.unit.cached_teachers.killed_builder"
    arguments = [sys.executable, "-m", program, of.manifest.uri, uri, "2"]
    assert subprocess.run(arguments, check=False).returncode == -signal.SIGKILL
    records = Path(uri, "records")
    before = {path: path.stat().st_mtime_ns for path in records.rglob("*.arrow")}
    assert len(before) == 2
    whole = of.build(uri, HIDDEN)
    assert whole.is_whole
    assert 0 < whole.reused_rows < whole.total_rows
    assert {path: path.stat().st_mtime_ns for path in before} == before
    of.build(smooth, HIDDEN)
    for path in records.rglob("*.arrow"):
        assert path.read_bytes() == Path(smooth, path.relative_to(uri)).read_bytes()
