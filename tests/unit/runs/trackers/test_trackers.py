"""Every tracker ends with every step of metrics.jsonl once, and none of them ends a training."""

import importlib.util
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from raykd.config.schema.run import RunConfig
from raykd.config.schema.train import TrackingConfig
from raykd.errors import ConfigError
from raykd.runs.checkpoint import checkpoint_name
from raykd.runs.metrics import MetricsLog, Record, read_metrics
from raykd.runs.paths import run_paths
from raykd.runs.trackers.open import LenientTracker, check_trackers
from raykd.storage import uris
from raykd.storage.published.ownership import remove
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.small_runs import small_data, small_run
from tests.unit.train.test_run import stop_after, train

mlflow = pytest.importorskip("mlflow")
wandb = pytest.importorskip("wandb")
wandb_internal_pb2 = pytest.importorskip("wandb.proto.wandb_internal_pb2")

# MLflow's tables are declared in a way that SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

LOSS = "train/loss"


@pytest.fixture(scope="module")
def mlflow_store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a directory with MLflow's database: it takes seconds to make one."""
    return str(tmp_path_factory.mktemp("mlflow"))


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what the machine says of W&B out of the tests, and the tests out of the network."""
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    small_data(tmp_path / "data")
    return tmp_path


def logged(config: RunConfig, name: str) -> list[tuple[int, float]]:
    records = read_metrics(run_paths(config).metrics)
    return [(int(record["step"]), record[name]) for record in records if name in record]


def in_tensorboard(config: RunConfig, name: str) -> list[tuple[int, float]]:
    events = EventAccumulator(run_paths(config).tensorboard).Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


def mlflow_runs(store: str, config: RunConfig) -> tuple[Any, list[Any]]:
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{store}/mlflow.db")
    experiment = client.get_experiment_by_name(config.name)
    return client, client.search_runs([experiment.experiment_id])


def in_mlflow(store: str, config: RunConfig, name: str) -> list[tuple[int, float]]:
    client, (run,) = mlflow_runs(store, config)
    history = client.get_metric_history(run.info.run_id, name)
    return sorted((point.step, point.value) for point in history)


def wandb_records(file: Path) -> Iterator[Any]:
    """Read W&B's own format: a LevelDB log of protocol buffers after a header of 7 bytes."""
    content, position, parts = file.read_bytes(), 7, b""
    while position + 7 <= len(content):
        if (rest := 32768 - position % 32768) < 7:
            position += rest
            continue
        length, kind = (
            int.from_bytes(content[position + 4 : position + 6], "little"),
            content[position + 6],
        )
        parts += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            parts = b""
            yield record


def wandb_files(config: RunConfig) -> list[Path]:
    return sorted(Path(run_paths(config).run, "wandb").glob("offline-run-*/*.wandb"))


def in_wandb(config: RunConfig, name: str) -> list[tuple[int, float]]:
    (file,) = wandb_files(config)
    points = []
    for record in wandb_records(file):
        if record.WhichOneof("record_type") == "history":
            row = {i.key or i.nested_key[0]: json.loads(i.value_json) for i in record.history.item}
            if name in row:
                points.append((row["_step"], row[name]))
    return points


def test_tensorboard_of_a_continued_run_has_each_step_once(directory: Path) -> None:
    config = small_run(directory, tracking={"tensorboard": True})
    train(config, should_stop=stop_after(3))
    train(config)
    points = in_tensorboard(config, LOSS)
    assert [step for step, _ in points] == [1, 2, 3, 4, 5, 6]
    # TensorBoard keeps 32 bits.
    assert [value for _, value in points] == pytest.approx([v for _, v in logged(config, LOSS)])


def test_mlflow_of_a_continued_run_has_each_step_once(directory: Path, mlflow_store: str) -> None:
    config = small_run(directory, name="continued", tracking={"mlflow": mlflow_store})
    train(config, should_stop=stop_after(3))
    _, (stopped,) = mlflow_runs(mlflow_store, config)
    assert stopped.info.status == "KILLED"
    train(config)
    assert in_mlflow(mlflow_store, config, LOSS) == logged(config, LOSS)
    assert in_mlflow(mlflow_store, config, "eval/loss") == logged(config, "eval/loss")
    _, (run,) = mlflow_runs(mlflow_store, config)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == run_paths(config).run.rpartition("/")[2]
    assert run.data.params["optimizer.learning_rate"] == "0.01"
    assert run.data.params["student.architecture.hidden_size"] == "16"


def test_mlflow_keeps_steps_past_the_checkpoint_and_gets_what_it_lacks(
    directory: Path, mlflow_store: str, capfd: pytest.CaptureFixture[str]
) -> None:
    config = small_run(directory, name="killed", tracking={"mlflow": mlflow_store})
    train(config, should_stop=stop_after(5))
    # As a worker leaves it that is killed after step 5, its newest checkpoint at step 4.
    remove(uris.join(run_paths(config).checkpoints, checkpoint_name(5)), kind="checkpoint")
    train(config)
    assert in_mlflow(mlflow_store, config, LOSS) == logged(config, LOSS)
    # As after a server that was away: a fresh store gets the whole run.
    other = str(directory / "other")
    Path(run_paths(config).result).unlink()
    train(small_run(directory, name="killed", tracking={"mlflow": other}))
    assert in_mlflow(other, config, LOSS) == logged(config, LOSS)
    assert capfd.readouterr() == ("", "")


def test_a_run_that_starts_over_is_another_one_to_mlflow(
    directory: Path, mlflow_store: str
) -> None:
    config = small_run(directory, name="fresh", tracking={"mlflow": mlflow_store})
    train(config, should_stop=stop_after(2))
    train(config, fresh=True)
    client, runs = mlflow_runs(mlflow_store, config)
    steps = [
        sorted(point.step for point in client.get_metric_history(run.info.run_id, LOSS))
        for run in runs
    ]
    assert sorted(steps) == [[1, 2], [1, 2, 3, 4, 5, 6]]


def test_wandb_of_a_continued_run_is_one_offline_run_with_each_step_once(
    directory: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = small_run(directory, tracking={"wandb": "studies"})
    train(config, should_stop=stop_after(3))
    (first,) = wandb_files(config)
    train(config)
    assert in_wandb(config, LOSS) == logged(config, LOSS)
    assert in_wandb(config, "eval/loss") == logged(config, "eval/loss")
    (file,) = wandb_files(config)
    assert file.name == first.name
    (run,) = [r.run for r in wandb_records(file) if r.WhichOneof("record_type") == "run"]
    assert (run.project, run.run_group) == ("studies", "small")
    assert run.display_name == run_paths(config).run.rpartition("/")[2]
    given = {u.key: json.loads(u.value_json) for u in run.config.update}
    assert given["optimizer"]["learning_rate"] == 0.01
    assert capfd.readouterr() == ("", "")


def test_wandb_of_a_run_in_an_object_store_is_in_its_directory(
    directory: Path, s3_uri: str
) -> None:
    config = small_run(directory, output_uri=f"{s3_uri}/runs", tracking={"wandb": "studies"})
    train(config)
    uri = uris.join(run_paths(config).run, "wandb")
    (name,) = [n for n in uris.list_names(uri) if n.startswith("offline-run-")]
    files = uris.list_names(uris.join(uri, name))
    (file,) = [f for f in files if f.endswith(".wandb")]
    copy = directory / file
    copy.write_bytes(uris.read_bytes(uris.join(uri, name, file)))
    kinds = [record.WhichOneof("record_type") for record in wandb_records(copy)]
    assert kinds.count("history") == 6


def test_wandb_does_what_the_environment_says(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    wandb.teardown()
    config = small_run(directory, tracking={"wandb": "studies"})
    assert train(config).is_done
    assert wandb_files(config) == []
    wandb.teardown()


def test_a_tracker_that_cannot_be_opened_stops_a_run_before_its_first_step(
    directory: Path,
) -> None:
    config = small_run(directory, tracking={"mlflow": "nowhere://store"})
    with pytest.raises(ConfigError, match=r"tracking\.mlflow: cannot be opened: .*nowhere"):
        train(config)
    assert read_metrics(run_paths(config).metrics) == []


def test_a_tracker_that_cannot_be_opened_does_not_stop_a_run_that_continues(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(small_run(directory), should_stop=stop_after(3))
    with caplog.at_level(logging.WARNING):
        assert train(small_run(directory, tracking={"mlflow": "nowhere://store"})).is_done
    assert "tracking.mlflow: " in caplog.text
    assert "the run goes on without it" in caplog.text


class Failing:
    """A tracker whose server goes away after some records."""

    def __init__(self, *, after: int) -> None:
        self.taken: list[Record] = []
        self._after = after

    def log(self, record: Record) -> None:
        if len(self.taken) == self._after:
            message = "connection refused"
            raise ConnectionError(message)
        self.taken.append(record)

    def close(self, *, is_done: bool) -> None:
        pytest.fail(f"asked to close after a failure, is_done={is_done}")


def test_a_tracker_that_fails_is_warned_of_once_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    failing = Failing(after=2)
    lenient = LenientTracker("mlflow", lambda: failing, failures=(OSError,))
    lenient.open(is_required=True)
    uri = str(tmp_path / "metrics.jsonl")
    log = MetricsLog(uri, step=0, trackers=[lenient])
    records: list[Record] = [{"step": step, "tokens": step} for step in range(1, 6)]
    for record in records:
        log.append(record)
    log.close(is_done=True)
    assert failing.taken == records[:2]
    assert read_metrics(uri) == records
    assert [r.getMessage() for r in caplog.records] == [
        "tracking.mlflow: connection refused; the run goes on without it, and metrics.jsonl has "
        "everything"
    ]


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "alembic" else find(name)
    )
    check_trackers(small_run(tmp_path, tracking={"wandb": "studies"}))
    with pytest.raises(ConfigError, match=r"not installed: alembic; .*'raykd\[mlflow\]'"):
        check_trackers(small_run(tmp_path, tracking={"mlflow": "m"}))


def test_an_empty_name_is_refused() -> None:
    assert TrackingConfig(wandb="").problems() == [
        "tracking.wandb is empty: give a value, or leave it out"
    ]


def test_no_telemetry_is_left_on(directory: Path, mlflow_store: str) -> None:
    train(small_run(directory, name="quiet", tracking={"mlflow": mlflow_store}))
    assert mlflow.telemetry.get_telemetry_client() is None
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "True"


_LOGGING = """
import sys
from pathlib import Path
from raykd.runs.trackers.mlflow import MlflowTracker
from tests.small_runs import small_run

directory = Path(sys.argv[1])
config = small_run(directory, name="trial", tracking={"mlflow": str(directory / "store")})
tracker = MlflowTracker(config, sys.argv[2])
for step in (1, 2, 3):
    tracker.log({"step": step, "tokens": step, "train/loss": 1 / step})
tracker.close(is_done=True)
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_runs_that_start_together_share_a_new_store(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _LOGGING, str(tmp_path)]
    started = [subprocess.Popen([*command, f"trial-{n}-id"]) for n in range(3)]
    assert [process.wait() for process in started] == [0, 0, 0]
    _, runs = mlflow_runs(str(tmp_path / "store"), small_run(tmp_path, name="trial"))
    assert sorted(run.info.run_name for run in runs) == ["trial-0", "trial-1", "trial-2"]
    assert [run.data.metrics[LOSS] for run in runs] == [1 / 3] * 3
