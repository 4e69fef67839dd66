"""Who builds the cache of a run, alone, stopped and beside others."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from raykd.cached_teachers.build import ensure_caches
from raykd.cached_teachers.targets import cache_targets
from raykd.cached_teachers.writer import CacheWatch
from raykd.distill.setup import read_setup
from raykd.storage import uris
from raykd.storage.leases.lease import held_lease
from raykd.teachers.cache.building import Progress

from tests.unit.cached_teachers.runs import distilled
from tests.unit.train.test_run import stop_after, train


def test_a_run_that_is_stopped_while_its_cache_is_built_goes_on_building(directory: Path) -> None:
    config = distilled(directory, {"mode": "logits"})
    stopped = train(config, should_stop=stop_after(2))
    assert (stopped.is_done, stopped.step, stopped.num_steps) == (False, 0, 6)
    target = cache_targets(read_setup(config))["big"]
    uri = target.uri(target.candidates[0])
    written = [name for name in uris.list_files(uri) if name.endswith(".json")]
    assert len(written) == 1
    assert train(config).is_done


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
    target = cache_targets(read_setup(config))["big"]
    cache = uris.join(target.uri(target.candidates[0]), "lease.json")
    said: list[str] = []
    watch = CacheWatch(on_message=said.append, should_stop=lambda: bool(said))
    with held_lease(f"{target.choice_uri}.lease" if mode == "auto" else cache, has_workers=False):
        assert not ensure_caches(config, watch=watch)
    assert len(said) == (1 if mode == "auto" else 2)
    assert said[-1].endswith("waiting for its end")
    assert ensure_caches(config, watch=CacheWatch())
