"""A run that reads its teacher from a cache is the run that asks it, however it is interrupted."""

import re
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from raykd import storage
from raykd.batch import LayersWanted
from raykd.config.schema.run import RunConfig
from raykd.data.manifest import read_manifest
from raykd.distill.assemble import assemble
from raykd.distill.batches import StepReader
from raykd.distill.step import StepCounts
from raykd.distill.world import World
from raykd.errors import ConfigError, PublicationError
from raykd.models.load import save_model
from raykd.teachers.cache.building import Progress
from raykd.teachers.cache.index import read_index
from raykd.teachers.cached import CachedTeacher
from raykd.train.cache_targets import cache_targets, coverages_of
from raykd.train.cache_writer import CacheWatch
from raykd.train.caches import ensure_caches, opened_caches
from raykd.train.lease import held_lease
from raykd.train.metrics import read_metrics
from raykd.train.paths import run_paths
from raykd.train.replay import replay_step

from tests.conftest import FaultyS3
from tests.small_runs import TINY_BERT, small_data, small_run
from tests.tiny_models import tiny_model
from tests.unit.train.test_run import stop_after, timeless, train, weights


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    small_data(tmp_path / "data")
    return tmp_path


def distilled(directory: Path, cache: dict[str, Any] | None, **changes: Any) -> RunConfig:
    """Return a run with a teacher of random weights of its own task."""
    task = changes.get("task", "masked_lm")
    where = directory / f"teacher-{task}"
    if not where.exists():
        model = tiny_model(
            "bert", task, hidden_size=16, num_heads=2, intermediate_size=32, num_layers=3
        )
        if task == "token_classification":
            model.config.id2label = {0: "O", 1: "B-X", 2: "I-X"}
        save_model(model, where)
    given = {
        "teachers": {"big": {"model": str(where), "cache": cache}},
        "losses": {"cross_entropy": {}, "forward_kl": {"temperature": "2"}, "reverse_kl": {}},
    }
    return small_run(directory, **(given | changes))


def assert_near(first: RunConfig, second: RunConfig, *, rtol: float, atol: float) -> None:
    mine, theirs = weights(first), weights(second)
    for name, tensor in mine.items():
        if name.endswith("key.bias"):
            continue  # attention does not depend on it: its gradient is rounding, which Adam lifts
        torch.testing.assert_close(tensor, theirs[name], rtol=rtol, atol=atol)
    records = [timeless(read_metrics(run_paths(config).metrics)) for config in (first, second)]
    assert len(records[0]) == len(records[1])
    for one, other in zip(*records, strict=True):
        assert one == pytest.approx(other, rel=rtol, abs=atol)


@pytest.mark.parametrize(
    ("task", "cache"),
    [
        ("masked_lm", {"mode": "hidden", "precision": "exact"}),
        ("masked_lm", {"mode": "logits"}),
        ("sequence_classification", {}),
        ("token_classification", {"mode": "logits"}),
    ],
)
def test_a_run_on_an_exact_cache_is_the_run_with_the_live_teacher(
    directory: Path, task: str, cache: dict[str, Any]
) -> None:
    # Seventeen steps of eight rows: the second epoch has other masks.
    live = distilled(directory, None, task=task, train__num_steps=17)
    cached = distilled(directory, cache, task=task, train__num_steps=17)
    assert train(live).is_done
    assert train(cached).is_done
    assert_near(live, cached, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("steps", [1, 4])
def test_stopped_and_continued_on_a_cache_equals_uninterrupted(
    directory: Path, steps: int
) -> None:
    cache = {"mode": "hidden", "precision": "int8"}
    smooth = distilled(directory, cache, output_uri=str(directory / "smooth"))
    bumpy = distilled(directory, cache)
    train(smooth)
    assert train(bumpy, should_stop=stop_after(steps + 5)).step <= 6
    assert train(bumpy).is_done
    for name, tensor in weights(smooth).items():
        assert torch.equal(tensor, weights(bumpy)[name]), name


def test_a_step_on_a_cache_in_a_store_waits_for_no_request(
    directory: Path, faulty_s3: FaultyS3
) -> None:
    cache = {"mode": "hidden", "precision": "exact"}
    near = distilled(directory, cache, output_uri=str(directory / "near"))
    far = distilled(directory, cache | {"uri": f"{faulty_s3.uri}/cache"})
    assert train(near).is_done
    assert train(far).is_done
    for name, tensor in weights(near).items():
        assert torch.equal(tensor, weights(far)[name]), name
    with opened_caches(near, World()) as here, opened_caches(far, World()) as there:
        expected = CachedTeacher(here["big"], device=torch.device("cpu"))
        run = assemble(far, world=World(), caches=there)
        assert run.objective.panel is not None
        steps = run.steps()
        ready = [next(steps) for _ in range(2)]
        with faulty_s3.proxy.outage(), storage.patience(1):
            for batch in (batch for step in ready for batch in step.micro_batches):
                found_PK = run.objective.panel.teachers["big"](batch, LayersWanted()).logits_PK
                assert torch.equal(found_PK, expected(batch).logits_PK)
        steps.restart()


def test_a_run_that_is_stopped_while_its_cache_is_built_goes_on_building(directory: Path) -> None:
    config = distilled(directory, {"mode": "logits"})
    stopped = train(config, should_stop=stop_after(2))
    assert (stopped.is_done, stopped.step, stopped.num_steps) == (False, 0, 6)
    target = cache_targets(config, read_manifest(config.data.uri))["big"]
    uri = target.uri(target.candidates[0])
    written = [name for name in storage.list_files(uri) if name.endswith(".json")]
    assert len(written) == 1
    assert train(config).is_done


@pytest.mark.parametrize(
    ("changes", "is_loaded"),
    [
        ({}, False),
        ({"losses": {"forward_kl": {}, "hidden_states": {}}}, True),
        ({"student": {"architecture": TINY_BERT, "init": {"copy_layers": {}}}}, True),
    ],
)
def test_the_weights_of_a_cached_teacher_are_loaded_where_they_are_needed(
    directory: Path, changes: dict[str, Any], is_loaded: bool
) -> None:
    config = distilled(directory, {"mode": "hidden"}, **changes)
    assert ensure_caches(config, watch=CacheWatch())
    with opened_caches(config, World()) as caches:
        run = assemble(config, world=World(), caches=caches)
        assert run.objective.panel is not None
        teacher = run.objective.panel.teachers["big"]
        assert isinstance(teacher, CachedTeacher)
        assert (teacher._live is not None) == is_loaded
        batches = next(run.steps())
        run.objective(batches.micro_batches[0], 0.0, StepCounts(positions=1, tokens=1))


def test_what_is_kept_is_what_the_steps_reach(directory: Path) -> None:
    manifest = read_manifest(str(directory / "data"))

    def rows(steps: int, **changes: Any) -> dict[tuple[str, int], int]:
        """Return the rows of each language and epoch, without those to evaluate on."""
        config = distilled(directory, {"mode": "hidden"}, train__num_steps=steps, **changes)
        found = coverages_of("big", config, manifest)
        return {
            (each.shard.language, each.epoch): each.rows
            for each in found
            if each.shard.path.startswith("train/")
        }

    few = {"data__num_lanes": 2, "data__shuffle_window": 1}
    # Of ten record batches, those that two lanes begin with.
    assert 8 <= sum(rows(1, **few).values()) <= 20
    # 90 rows, 8 a step: 20 in one language, 70 in the other.
    first = {("de", 0): 20, ("en", 0): 70}
    assert rows(11) == first
    second = rows(12)
    assert first.items() <= second.items()
    assert 90 + 6 <= sum(second.values()) <= 2 * 90
    # The masks of the first epoch come again.
    assert rows(12, data__masking={"num_variants": 1}) == first
    # Where nothing is masked all epochs are alike.
    assert rows(12, task="sequence_classification", teachers__big__cache={}) == first
    # Steps of a bucket exchange rows: the eleventh may read what the twelfth would.
    assert rows(11, data__bucket_steps=4) == second
    mixed = rows(30, data__mixing={"fixed": {"weights": {"de": 1, "en": 1}}})
    assert [mixed["de", epoch] for epoch in range(5)] == [20] * 5
    assert mixed["en", 0] == 70
    assert 0 < mixed["en", 1] <= 70
    assert ("en", 2) not in mixed


def test_a_cache_of_a_part_of_an_epoch_is_enough_to_train_and_to_train_on(directory: Path) -> None:
    cache = {"mode": "hidden", "precision": "exact"}
    few = {"data__num_lanes": 2, "data__shuffle_window": 1}
    config = distilled(directory, cache, train__num_steps=2, **few)
    assert train(config).is_done
    target = cache_targets(config, read_manifest(config.data.uri))["big"]
    key = target.key(target.candidates[0])
    index = read_index(target.uri(key.payload), key)
    assert index is not None
    assert sum(part.part.rows for part in index.parts) < 111
    longer = distilled(directory, cache, train__num_steps=13, **few)
    assert train(longer).is_done
    live = distilled(directory, None, train__num_steps=13, **few)
    assert train(live).is_done
    assert_near(live, longer, rtol=2e-4, atol=2e-5)


def test_masks_that_come_again_are_kept_once(directory: Path) -> None:
    masking = {"num_variants": 2}
    config = distilled(directory, {"mode": "hidden"}, train__num_steps=40, data__masking=masking)
    assert train(config).is_done


def test_epochs_of_a_mixture_are_enough_to_train(directory: Path) -> None:
    mixing = {"fixed": {"weights": {"de": 3, "en": 1}}}
    config = distilled(directory, {"mode": "hidden"}, train__num_steps=13, data__mixing=mixing)
    assert train(config).is_done


def test_the_place_of_a_cache_is_beside_the_data_unless_it_is_named(directory: Path) -> None:
    beside = distilled(directory, {"mode": "hidden"})
    elsewhere = distilled(directory, {"mode": "hidden", "uri": str(directory / "there")})
    manifest = read_manifest(beside.data.uri)
    assert cache_targets(beside, manifest)["big"].root == str(directory / "cache")
    assert cache_targets(elsewhere, manifest)["big"].root == str(directory / "there")
    assert run_paths(beside) == run_paths(elsewhere)
    train(elsewhere)
    assert not (directory / "cache").exists()


def test_auto_keeps_all_scores_of_few_classes_and_chooses_once_for_a_vocabulary(
    directory: Path,
) -> None:
    classes = distilled(directory, {}, task="sequence_classification")
    manifest = read_manifest(classes.data.uri)
    assert str(cache_targets(classes, manifest)["big"].payload) == "logits exact"
    said: list[str] = []
    words = distilled(directory, {"max_gradient_error": 0.1})
    assert cache_targets(words, manifest)["big"].payload is None
    watch = CacheWatch(on_message=said.append)
    assert ensure_caches(words, watch=watch)
    assert len(said) == 2
    assert "cache of teacher big: hidden int8, " in said[0]
    assert str(cache_targets(words, manifest)["big"].payload) == "hidden int8"
    assert ensure_caches(words, watch=watch)
    assert len(said) == 2


@pytest.mark.parametrize(
    ("changes", "has_sparse"),
    [
        ({"losses": {"forward_kl": {}}}, True),
        ({"losses": {"forward_kl": {"temperature": "1 -> 2"}}}, False),
        ({"losses": {"forward_kl": {}, "logit_mse": {}}}, False),
        ({"losses": {"forward_kl": {}}, "teacher_weights": {"max_margin": {}}}, False),
    ],
)
def test_auto_chooses_from_what_the_losses_can_be_computed_from(
    directory: Path, changes: dict[str, Any], has_sparse: bool
) -> None:
    config = distilled(directory, {"top_k": 7}, **changes)
    target = cache_targets(config, read_manifest(config.data.uri))["big"]
    ways = [str(payload) for payload in target.candidates]
    assert ways[:3] == ["hidden exact", "hidden float16", "hidden int8"]
    assert ways[3:] == (["top_k 7", "sampled 64"] if has_sparse else [])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"teachers__big__cache": {"mode": "top_k"}},
            "losses.reverse_kl needs all scores.*at temperature 1, but losses.forward_kl.temperat",
        ),
        (
            {"task": "sequence_classification", "teachers__big__cache": {"mode": "hidden"}},
            "cache.mode=hidden is for vocabularies, got task=sequence_classification",
        ),
        (
            {"data__mixing": {"adaptive": {}}, "data__eval_split": "validation"},
            "cache: with data.mixing.adaptive it is not known beforehand",
        ),
        (
            {"teachers__big__cache": {"mode": "logits", "precision": "int8"}},
            "precision=int8 is for the mode hidden",
        ),
    ],
)
def test_what_a_cache_cannot_serve_is_refused_with_the_reason(
    directory: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=re.compile(message, re.DOTALL)):
        distilled(directory, {"mode": "hidden"}, **changes)


def test_another_teacher_under_the_same_name_is_another_cache(directory: Path) -> None:
    config = distilled(directory, {"mode": "hidden"})
    manifest = read_manifest(config.data.uri)
    before = cache_targets(config, manifest)["big"]
    train(config)
    save_model(
        tiny_model("bert", "masked_lm", hidden_size=16, num_heads=2, seed=5),
        directory / "teacher-masked_lm",
    )
    after = cache_targets(config, manifest)["big"]
    payload = before.candidates[0]
    assert before.uri(payload) != after.uri(payload)
    with (
        pytest.raises(PublicationError, match="holds no teacher's outputs yet"),
        opened_caches(config, World()),
    ):
        pass
    with pytest.raises(PublicationError, match=r"another teacher: it has .{12}, this run .{12};"):
        read_index(before.uri(payload), after.key(payload))


def test_several_that_need_a_cache_build_it_together(directory: Path) -> None:
    config = distilled(directory, {"mode": "hidden"})
    said: list[str] = []
    told: list[Progress] = []
    waits = threading.Event()

    def tell(message: str) -> None:
        said.append(message)
        if message.endswith("waiting for its end"):
            waits.set()

    with ThreadPoolExecutor(1) as thread:

        def after_the_first_part(_: str, progress: Progress) -> None:
            told.append(progress)
            if len(told) == 2:
                helpers.append(thread.submit(ensure_caches, config, watch=helping))
                # It writes all parts that are left, and waits for this one to publish them.
                waits.wait()

        helpers: list[Future[bool]] = []
        helping = CacheWatch(on_message=tell)
        building = CacheWatch(on_message=tell, on_progress=after_the_first_part)
        assert ensure_caches(config, watch=building)
        assert helpers[0].result()
    assert [message.split(" to ")[0] for message in said[:2]] == [
        "cache of teacher big: writing hidden float16",
        "cache of teacher big: helping",
    ]
    assert told[-1].is_whole
    (cache,) = (directory / "cache").iterdir()
    assert [each.name for each in cache.glob("index-*")] == ["index-00000"]
    assert len(list(cache.rglob("*.arrow"))) == len(told) - 1


@pytest.mark.parametrize("mode", ["hidden", "auto"])
def test_whoever_waits_for_the_build_of_another_stops_when_asked(
    directory: Path, mode: str
) -> None:
    config = distilled(directory, {"mode": mode})
    target = cache_targets(config, read_manifest(config.data.uri))["big"]
    cache = storage.join(target.uri(target.candidates[0]), "lease.json")
    said: list[str] = []
    watch = CacheWatch(on_message=said.append, should_stop=lambda: bool(said))
    with held_lease(f"{target.choice_uri}.lease" if mode == "auto" else cache, has_workers=False):
        assert not ensure_caches(config, watch=watch)
    assert len(said) == (1 if mode == "auto" else 2)
    assert said[-1].endswith("waiting for its end")
    assert ensure_caches(config, watch=CacheWatch())


def test_every_worker_of_several_reads_what_the_teacher_says(directory: Path) -> None:
    config = distilled(directory, {"mode": "hidden", "precision": "exact"})
    live = assemble(distilled(directory, None), world=World())
    ensure_caches(config, watch=CacheWatch())
    assert live.objective.panel is not None
    teacher, rows = live.objective.panel.teachers["big"], 0
    with opened_caches(config, World()) as caches:
        cached = CachedTeacher(caches["big"], device=torch.device("cpu"))
        for rank in range(3):
            world = World(rank=rank, size=3)
            reader = StepReader(config, live.manifest, live.task, state=live.state, world=world)
            for batch in (batch for _ in range(4) for batch in next(reader).micro_batches):
                rows += int((batch.row_ids_B >= 0).sum())
                expected_PK = teacher(batch, LayersWanted()).logits_PK
                torch.testing.assert_close(cached(batch).logits_PK, expected_PK)
            reader.restart()
    assert rows == 4 * 8


def test_a_replay_reads_the_cache_that_the_run_has_read(directory: Path) -> None:
    config = distilled(directory, {"mode": "hidden", "precision": "int8"})
    train(config)
    records = read_metrics(run_paths(config).metrics)
    said: list[str] = []
    report = replay_step(run_paths(config).run, step=4, on_message=said.append)
    (loss,) = [r["train/loss"] for r in records if r["step"] == 4 and "train/loss" in r]
    assert report.loss == pytest.approx(loss, rel=1e-5)


def test_of_a_teacher_for_some_languages_only_those_are_kept(directory: Path) -> None:
    config = distilled(directory, {"mode": "hidden"})
    teacher = replace(config.teachers["big"], languages=("en",))
    config = replace(config, teachers={"big": teacher})
    target = cache_targets(config, read_manifest(config.data.uri))["big"]
    assert train(config).is_done
    index = read_index(target.uri(target.candidates[0]), target.key(target.candidates[0]))
    assert index is not None
    assert {part.part.language for part in index.parts} == {"en"}
    assert sum(part.part.rows for part in index.parts) == 70 + 13
