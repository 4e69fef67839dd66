"""A run whose store is away for a while goes on, and ends as if it had not been."""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from raykd.config.schema.run import RunConfig
from raykd.runs.checkpoint import checkpoint_name, committed_steps, newest_checkpoint
from raykd.runs.metrics import read_metrics
from raykd.runs.paths import run_paths
from raykd.storage.published.directory import COMMITTED

from tests.conftest import FaultyS3
from tests.servers.faults import Hold
from tests.small_runs import small_data, small_run
from tests.storage_faults.stores import stored_names
from tests.unit.train.test_run import assert_equal_runs, train

NUM_STEPS = 10
CHECKPOINT_STEP, FIRST_STEP_AWAY, LAST_STEP_AWAY = 2, 4, 7


class Trouble(logging.Handler):
    """Hears that requests fail again and again."""

    def __init__(self) -> None:
        super().__init__()
        self.is_told = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if "the store cannot be reached" in record.getMessage():
            self.is_told.set()


@pytest.fixture
def trouble() -> Iterator[Trouble]:
    handler = Trouble()
    logger = logging.getLogger("raykd.storage.remote.retry")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


class Outage:
    """Takes the store away in the middle of a checkpoint's upload, for a few steps of the run."""

    def __init__(self, store: FaultyS3, trouble: Trouble) -> None:
        self.steps: list[int] = []
        self.stored: list[list[str]] = []
        self._store = store
        self._trouble = trouble
        self._step = 0
        self._upload = Hold()
        store.proxy.inject(
            self._upload, on=f"PutObject .*/{checkpoint_name(CHECKPOINT_STEP)}/student/model"
        )

    def should_stop(self) -> bool:
        """Follow the run, which asks this after each of its steps."""
        self._step += 1
        if self._step == FIRST_STEP_AWAY - 1:
            assert self._upload.reached.wait(60)
            self._store.proxy.stop()
            self._upload.released.set()
        elif FIRST_STEP_AWAY <= self._step <= LAST_STEP_AWAY:
            self.steps.append(self._step)
            self.stored.append(stored_names(self._store))
        if self._step == LAST_STEP_AWAY:
            was_told = self._trouble.is_told.wait(60)
            self._store.proxy.start()
            assert was_told
        return False


def run_of(directory: Path, output_uri: str) -> RunConfig:
    changes: dict[str, Any] = {
        "train__num_steps": NUM_STEPS,
        "train__eval_every_steps": NUM_STEPS,
        "checkpoint": {"every_steps": CHECKPOINT_STEP, "keep_last": NUM_STEPS},
    }
    return small_run(directory, output_uri=output_uri, **changes)


def test_training_goes_on_in_an_outage_and_its_checkpoints_catch_up(
    tmp_path: Path, faulty_s3: FaultyS3, trouble: Trouble
) -> None:
    small_data(tmp_path / "data")
    smooth = run_of(tmp_path, str(tmp_path / "smooth"))
    bumpy = run_of(tmp_path, f"{faulty_s3.uri}/runs")
    assert train(smooth).is_done
    outage = Outage(faulty_s3, trouble)
    assert train(bumpy, should_stop=outage.should_stop).is_done
    assert outage.steps == list(range(FIRST_STEP_AWAY, LAST_STEP_AWAY + 1))
    assert not any(name.endswith(COMMITTED) for names in outage.stored for name in names)
    # What was under way is finished, and those due meanwhile have waited for it.
    paths = run_paths(bumpy)
    steps = committed_steps(paths.checkpoints)
    assert (steps[0], steps[-1]) == (CHECKPOINT_STEP, NUM_STEPS)
    assert not set(steps) & set(outage.steps[:-1])
    with newest_checkpoint(paths.checkpoints) as found:
        assert found is not None
        assert found.step == NUM_STEPS
    logged = [record["step"] for record in read_metrics(paths.metrics) if "train/loss" in record]
    assert logged == list(range(1, NUM_STEPS + 1))
    assert_equal_runs(smooth, bumpy)
