"""Workers of Ray read the cache that the driver has built, and end where one process ends."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from raykd.cli.main import main as raykd
from raykd.models.load import save_model
from raykd.sweep.ledger import State, read_ledger

from tests.conftest import set_s3_environment
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

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]


@pytest.fixture(scope="module", autouse=True)
def local_ray(s3_server: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        set_s3_environment(monkeypatch, s3_server)
        yield from started_ray()


def test_workers_read_a_cache_in_a_store_and_a_killed_one_changes_nothing(
    tmp_path: Path, s3_uri: str
) -> None:
    small_data(tmp_path / "data")
    model = tiny_model("bert", "masked_lm", hidden_size=16, num_heads=2, intermediate_size=32)
    save_model(model, tmp_path / "teacher")
    cache = {"mode": "hidden", "precision": "int8", "uri": f"{s3_uri}/cache"}
    changes = {
        "teachers": {"big": {"model": str(tmp_path / "teacher"), "cache": cache}},
        "losses": {"cross_entropy": {}, "forward_kl": {}},
        # A small learning rate: Adam turns rounding of tiny gradients into steps of this size.
        "optimizer": {"learning_rate": 1e-3},
    }
    two = ray_run(tmp_path, **changes)
    killer = WorkerKiller(step=12)
    result, messages = train(two, killer)
    assert (result.is_done, result.step) == (True, NUM_STEPS)
    assert len(killer.killed) == 1
    assert "cache of teacher big: writing hidden int8 to s3://" in messages[0]
    one = ray_run(
        tmp_path, cluster={"num_workers": 0}, output_uri=str(tmp_path / "one"), **changes
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
