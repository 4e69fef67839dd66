"""Which caches a run reads, where they lie, and what they hold."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from raykd.cached_teachers.build import ensure_caches, opened_caches
from raykd.cached_teachers.targets import cache_targets, coverages_of
from raykd.cached_teachers.writer import CacheWatch
from raykd.distill.setup import read_setup
from raykd.distill.world import World
from raykd.errors import ConfigError, PublicationError
from raykd.models.load import save_model
from raykd.runs.paths import run_paths
from raykd.storage.published.publishing import publishing
from raykd.teachers.cache.index import read_index

from tests.prepared import write_prepared
from tests.tiny_models import tiny_model
from tests.unit.cached_teachers.runs import distilled
from tests.unit.train.test_run import train


def test_what_is_kept_is_what_the_steps_reach(directory: Path) -> None:

    def rows(steps: int, **changes: Any) -> dict[tuple[str, int], int]:
        """Return the rows of each language and epoch, without those to evaluate on."""
        config = distilled(directory, {"mode": "hidden"}, train__num_steps=steps, **changes)
        coverages = coverages_of("big", read_setup(config))
        return {
            (each.shard.language, each.epoch): each.rows
            for each in coverages
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


def test_the_splits_that_are_scored_are_kept_too(directory: Path) -> None:
    splits = {"train": {"de": [9]}, "validation": {"de": [6]}, "test": {"de": [5], "en": [2]}}
    write_prepared(directory / "more", splits)
    data = {"data__uri": str(directory / "more"), "data__num_lanes": 1}

    def rows(**changes: Any) -> dict[str, int]:
        config = distilled(directory, {"mode": "hidden"}, **data, **changes)
        coverages = coverages_of("big", read_setup(config))
        return {each.shard.path.split("-")[0]: each.rows for each in coverages if not each.epoch}

    tested = {"test/de": 5, "test/en": 2}
    assert rows() == {"train/de": 9, "validation/de": 6}
    assert rows(data__test_split="test") == {"train/de": 9, "validation/de": 6, **tested}
    assert rows(data__test_split="test", data__eval_split=None) == {"train/de": 9, **tested}


def test_the_place_of_a_cache_is_beside_the_data_unless_it_is_named(directory: Path) -> None:
    beside = distilled(directory, {"mode": "hidden"})
    elsewhere = distilled(directory, {"mode": "hidden", "uri": str(directory / "there")})
    assert cache_targets(read_setup(beside))["big"].root == str(directory / "cache")
    assert cache_targets(read_setup(elsewhere))["big"].root == str(directory / "there")
    assert run_paths(beside) == run_paths(elsewhere)
    train(elsewhere)
    assert not (directory / "cache").exists()


def test_auto_keeps_all_scores_of_few_classes_and_chooses_once_for_a_vocabulary(
    directory: Path,
) -> None:
    classes = distilled(directory, {}, task="sequence_classification")
    assert str(cache_targets(read_setup(classes))["big"].payload) == "logits exact"
    said: list[str] = []
    words = distilled(directory, {"max_gradient_error": 0.1})
    assert cache_targets(read_setup(words))["big"].payload is None
    watch = CacheWatch(on_message=said.append)
    assert ensure_caches(words, watch=watch)
    assert len(said) == 2
    assert "cache of teacher big: hidden int8, " in said[0]
    assert str(cache_targets(read_setup(words))["big"].payload) == "hidden int8"
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
    target = cache_targets(read_setup(config))["big"]
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
    before = cache_targets(read_setup(config))["big"]
    train(config)
    save_model(
        tiny_model("bert", "masked_lm", hidden_size=16, num_heads=2, seed=5),
        directory / "teacher-masked_lm",
    )
    after = cache_targets(read_setup(config))["big"]
    payload = before.candidates[0]
    assert before.uri(payload) != after.uri(payload)
    with (
        pytest.raises(PublicationError, match="holds no teacher's outputs yet"),
        opened_caches(read_setup(config), World()),
    ):
        pass
    with pytest.raises(PublicationError, match=r"another teacher: it has .{12}, this run .{12};"):
        read_index(before.uri(payload), after.key(payload))


def test_a_checkpoint_of_the_same_run_with_other_weights_is_another_cache(directory: Path) -> None:
    uri = directory / "runs" / "teacher-0a1b2c3d" / "checkpoints" / "step-00000003"
    places = set()
    for seed in (0, 1):
        with publishing(str(uri), kind="checkpoint", overwrites=True) as publication:
            model = tiny_model("bert", "masked_lm", hidden_size=16, num_heads=2, seed=seed)
            save_model(model, publication.path / "student")
            (publication.path / "state.json").touch()
            publication.content |= {"run": "teacher-0a1b2c3d", "step": 3}
        config = distilled(directory, {"mode": "hidden"}, teachers__big__model=str(uri))
        target = cache_targets(read_setup(config))["big"]
        places.add(target.uri(target.candidates[0]))
    assert len(places) == 2


def test_of_a_teacher_for_some_languages_only_those_are_kept(directory: Path) -> None:
    config = distilled(directory, {"mode": "hidden"})
    teacher = replace(config.teachers["big"], languages=("en",))
    config = replace(config, teachers={"big": teacher})
    target = cache_targets(read_setup(config))["big"]
    assert train(config).is_done
    index = read_index(target.uri(target.candidates[0]), target.key(target.candidates[0]))
    assert index is not None
    assert {part.part.language for part in index.parts} == {"en"}
    assert sum(part.part.rows for part in index.parts) == 70 + 13
