"""Workers of Ray build a cache and read it, and end where one process ends."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from raykd.cached_teachers.build import ensure_caches
from raykd.cached_teachers.writer import CacheWatch
from raykd.cli.main import main as raykd
from raykd.config.schema.run import RunConfig
from raykd.models.load import save_model
from raykd.sweep.ledger import read_ledger
from raykd.sweep.record import State
from raykd.teachers.cache.building import Progress

from tests.conftest import set_s3_environment
from tests.heaps import heaps_of_threads
from tests.ray.support.running import processes_called
from tests.ray.test_ray_train import (
    NUM_STEPS,
    WorkerKiller,
    ray_run,
    started_ray,
    train,
    weights,
)
from tests.small_runs import small_data
from tests.sweep_files import WEIGHT, write_runs, write_sweep
from tests.tiny_models import tiny_model

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]


@pytest.fixture(scope="module", autouse=True)
def local_ray(s3_server: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        set_s3_environment(monkeypatch, s3_server)
        yield from started_ray()


def distilled(directory: Path, cache: str, **changes: Any) -> RunConfig:
    """Return a run on two workers with a teacher that is kept at a place."""
    section = {"mode": "hidden", "precision": "int8", "uri": cache}
    given = {
        "teachers": {"big": {"model": str(directory / "teacher"), "cache": section}},
        "losses": {"cross_entropy": {}, "forward_kl": {}},
        # A small learning rate: Adam turns rounding of tiny gradients into steps of this size.
        "optimizer": {"learning_rate": 1e-3},
    }
    return ray_run(directory, **given, **changes)


def write_inputs(directory: Path) -> None:
    """Write the data, and a teacher of random weights."""
    small_data(directory / "data")
    model = tiny_model("bert", "masked_lm", hidden_size=16, num_heads=2, intermediate_size=32)
    save_model(model, directory / "teacher")


def written(cache: Path) -> dict[Path, bytes]:
    """Return the files of the only cache at a place: what is kept, and the notes on it."""
    kept = (".arrow", ".json", ".safetensors")
    (uri,) = [each for each in cache.iterdir() if each.is_dir()]
    return {
        path.relative_to(uri): path.read_bytes()
        for path in uri.rglob("*")
        if path.suffix in kept and path.name != "manifest.json"
    }


def test_workers_build_a_cache_stopped_and_killed_as_one_process_does(tmp_path: Path) -> None:
    # Imported here: Ray's environment is set by the fixture.
    from raykd.train.on_ray.cache_workers import cache_workers  # noqa: PLC0415

    write_inputs(tmp_path)
    alone = distilled(tmp_path, str(tmp_path / "alone"))
    assert ensure_caches(alone, watch=CacheWatch())
    config = distilled(tmp_path, str(tmp_path / "together"))
    told: list[Progress] = []
    watch = CacheWatch(
        on_progress=lambda _, progress: told.append(progress),
        should_stop=lambda: len(told) > 1,
    )
    assert not ensure_caches(config, watch=watch, workers=cache_workers)
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "together").rglob("*.arrow")}
    # Those that were under way are finished.
    assert 1 <= len(finished) <= 2

    said: list[str] = []
    before = {process.pid for process in processes_called("TeacherWorker")}
    killed: list[int] = []
    heaps: list[str] = []

    def kill_once(name: str, progress: Progress) -> None:
        assert progress.reused_rows > 0
        if not killed:
            workers = [each.pid for each in processes_called("TeacherWorker")]
            killed.append(next(pid for pid in workers if pid not in before))
            heaps.extend(heaps_of_threads(killed[0]))
            os.kill(killed[0], signal.SIGKILL)

    watch = CacheWatch(on_message=said.append, on_progress=kill_once)
    assert ensure_caches(config, watch=watch, workers=cache_workers)
    assert any("a worker died (failure 1 of 3 allowed)" in line for line in said)
    assert heaps == []
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert written(tmp_path / "together") == written(tmp_path / "alone")


def test_workers_for_whom_there_is_no_room_are_told_of_and_given_up(tmp_path: Path) -> None:
    from raykd.train.on_ray.cache_workers import cache_workers  # noqa: PLC0415  as above

    write_inputs(tmp_path)
    cluster = {"num_workers": 2, "cpus_per_worker": 100}
    config = distilled(tmp_path, str(tmp_path / "cache"), cluster=cluster)
    said: list[str] = []
    watch = CacheWatch(
        on_message=said.append, should_stop=lambda: any("no place" in line for line in said)
    )
    assert not ensure_caches(config, watch=watch, workers=cache_workers)
    assert "there is no place for the workers: asked for 2 times 100 CPU" in said[-1]


def test_workers_read_a_cache_in_a_store_and_a_killed_one_changes_nothing(
    tmp_path: Path, s3_uri: str
) -> None:
    write_inputs(tmp_path)
    two = distilled(tmp_path, f"{s3_uri}/cache")
    killer = WorkerKiller(two, step=12)
    result, messages = train(two, killer)
    assert (result.is_done, result.step) == (True, NUM_STEPS)
    assert len(killer.killed) == 1
    assert "cache of teacher big: writing hidden int8 to s3://" in messages[0]
    one = distilled(
        tmp_path,
        f"{s3_uri}/cache",
        cluster={"num_workers": 0},
        output_uri=str(tmp_path / "one"),
    )
    _, messages = train(one)
    assert not any("cache of teacher" in message for message in messages)
    expected = weights(one)
    for name, tensor in weights(two).items():
        torch.testing.assert_close(tensor, expected[name], atol=1e-4, rtol=1e-4)


def test_the_trials_of_a_sweep_share_one_cache(tmp_path: Path) -> None:
    write_runs(tmp_path, teachers={"old": {"model": "not-there", "cache": {"mode": "hidden"}}})
    path = write_sweep(tmp_path, {"search": {WEIGHT: {"grid": [1, 2, 4]}}})
    assert raykd(["sweep", str(path)]) == 0
    ledger = read_ledger(str(tmp_path / "sweeps" / "study"))
    assert [record.state for record in ledger.records.values()] == [State.DONE] * 5
    (cache,) = [each for each in (tmp_path / "cache").iterdir() if each.is_dir()]
    # One has built it and all others have found it whole.
    assert [each.name for each in cache.glob("index-*")] == ["index-00000"]
    records = list(cache.rglob("*.arrow"))
    assert len(records) == len(list(cache.rglob("records/**/*.json"))) == 4
