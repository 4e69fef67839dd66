"""The metrics of a run in MLflow; imported only where MLflow is installed and configured."""

import fcntl
import logging
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from mlflow import MlflowClient
from mlflow import environment_variables as settings
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.telemetry import set_telemetry_client
from sqlalchemy.exc import SQLAlchemyError

from raykd.config.load import plain
from raykd.config.schema.run import RunConfig
from raykd.runs.metrics import Record, measured
from raykd.storage import uris

FAILURES = (MlflowException, SQLAlchemyError, ImportError, OSError)
"""What is raised where MLflow cannot do its part; ImportError for the driver of a database."""

_ID_TAG = "raykd.id"
_MAX_PARAMS = 100
"""MLflow takes no more at once."""


class MlflowTracker:
    """Fills one run of MLflow, in the experiment named like the run."""

    def __init__(self, config: RunConfig, tracked_id: str) -> None:
        self._client, artifacts = _client(str(config.tracking.mlflow))
        experiment = self._experiment(config.name, artifacts)
        runs = self._client.search_runs([experiment], f"tags.`{_ID_TAG}` = '{tracked_id}'")
        if runs:
            self._run = runs[0].info.run_id
            self._client.update_run(self._run, status="RUNNING")
        else:
            self._run = self._create(config, experiment, tracked_id)
        # Every record has its tokens, so that a point of that metric stands for a record. A step
        # may have two, a report and an evaluation: they are counted.
        history = self._client.get_metric_history(self._run, "tokens")
        self._has = Counter(point.step for point in history)

    def log(self, record: Record) -> None:
        """Take one record, unless MLflow has it: it would keep both."""
        # MLflow takes times in milliseconds since the epoch.
        step, now = int(record["step"]), round(time.time() * 1000)
        if self._has[step] > 0:
            self._has[step] -= 1
            return
        metrics = [Metric(name, value, now, step) for name, value in measured(record).items()]
        self._client.log_batch(self._run, metrics=metrics)

    def close(self, *, is_done: bool) -> None:
        """Tell how the run ended."""
        self._client.set_terminated(self._run, status="FINISHED" if is_done else "KILLED")

    def _experiment(self, name: str, artifacts: str | None) -> str:
        if (known := self._client.get_experiment_by_name(name)) is not None:
            return str(known.experiment_id)
        try:
            return str(self._client.create_experiment(name, artifact_location=artifacts))
        except MlflowException:
            # A run beside this one may have been faster.
            if (known := self._client.get_experiment_by_name(name)) is None:
                raise
            return str(known.experiment_id)

    def _create(self, config: RunConfig, experiment: str, tracked_id: str) -> str:
        name = tracked_id.rpartition("-")[0]
        created = self._client.create_run(experiment, run_name=name, tags={_ID_TAG: tracked_id})
        params = [Param(key, str(value)) for key, value in _leaves(plain(config))]
        for first in range(0, len(params), _MAX_PARAMS):
            self._client.log_batch(created.info.run_id, params=params[first : first + _MAX_PARAMS])
        return str(created.info.run_id)


def _leaves(section: dict[str, object], parents: str = "") -> Iterator[tuple[str, object]]:
    """Yield every key that has a value, with dots."""
    for name, value in section.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{parents}{name}.")
        elif value is not None:
            yield f"{parents}{name}", value


def _client(where: str) -> tuple[MlflowClient, str | None]:
    """Return MLflow's client, and where artifacts go unless the store decides."""
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    settings.MLFLOW_DISABLE_TELEMETRY.set(True)
    set_telemetry_client()
    # Training waits for the answer: by default four minutes, where there is none.
    for setting, value in (
        (settings.MLFLOW_HTTP_REQUEST_MAX_RETRIES, 2),
        (settings.MLFLOW_HTTP_REQUEST_TIMEOUT, 10),
    ):
        if not setting.is_set():
            setting.set(value)
    if "://" in where:
        return MlflowClient(tracking_uri=where), None
    directory = Path(uris.absolute(where))
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "mlflow.lock").open("a") as lock:
        # The first client makes the tables, and trips over others that do so beside it.
        fcntl.flock(lock, fcntl.LOCK_EX)
        client = MlflowClient(tracking_uri=f"sqlite:///{directory / 'mlflow.db'}")
    return client, (directory / "artifacts").as_uri()
