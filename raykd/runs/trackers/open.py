"""Trackers: where the metrics of a run go beside metrics.jsonl, which remains the truth.

The first worker of a run opens them, and gives them every record that metrics.jsonl keeps before
those it adds. So each ends with every step once, however often a run is stopped and continued:

* TensorBoard and offline W&B are written anew, in full.
* MLflow and online W&B cannot forget: what they have stays, what they lack is added.

Neither MLflow nor W&B ends a training. One that cannot be opened stops a run only before its
first step. One that fails later is warned of once and left out; the next start of the run tries
it again and adds what it lacks.
"""

import importlib.util
import json
import logging
import uuid
from collections.abc import Callable, Iterator

from raykd.config.schema.run import RunConfig
from raykd.errors import ConfigError
from raykd.runs import append_log
from raykd.runs.metrics import Record, Tracker
from raykd.runs.paths import RunPaths
from raykd.storage import uris

_PACKAGES = {"mlflow": ("mlflow", "sqlalchemy", "alembic"), "wandb": ("wandb",)}
"""What each tracker imports; the last two of MLflow's are for a database without a server."""

EVENTS = "events.out.tfevents."
"""How the names of TensorBoard's files begin."""

logger = logging.getLogger(__name__)


def check_trackers(config: RunConfig) -> None:
    """Check that the packages of the configured trackers are installed.

    Raises:
        ConfigError: One is not; the message has the command that installs it.
    """
    for name, packages in _PACKAGES.items():
        if getattr(config.tracking, name) is None:
            continue
        if missing := [p for p in packages if importlib.util.find_spec(p) is None]:
            message = (
                f"tracking.{name}: not installed: {', '.join(missing)}; "
                f"run pip install 'raykd[{name}]', or leave the key out"
            )
            raise ConfigError(message)


def open_trackers(config: RunConfig, paths: RunPaths, *, step: int) -> list[Tracker]:
    """Open the trackers that a run configures.

    Args:
        config: The run.
        paths: Where it writes.
        step: Where it begins or continues.

    Raises:
        ConfigError: One is not installed, or cannot be opened before the first step.
    """
    check_trackers(config)
    lenient = list(_wanted(config, paths))
    for tracker in lenient:
        tracker.open(is_required=step == 0)
    if not config.tracking.tensorboard:
        return list(lenient)
    # Imported here: most runs write no events, and start sooner without.
    from raykd.runs.trackers.tensorboard import TensorBoardTracker  # noqa: PLC0415

    return [TensorBoardTracker(paths.tensorboard), *lenient]


class LenientTracker:
    """Lets training go on where a tracker fails: warns once, and drops it."""

    def __init__(
        self, name: str, make: Callable[[], Tracker], *, failures: tuple[type[Exception], ...]
    ) -> None:
        self._name = name
        self._make = make
        self._failures = failures
        self._tracker: Tracker | None = None

    def open(self, *, is_required: bool) -> None:
        """Open the tracker.

        Raises:
            ConfigError: It fails, and is required.
        """
        try:
            self._tracker = self._make()
        except self._failures as error:
            if is_required:
                message = (
                    f"tracking.{self._name}: cannot be opened: {error}; correct it or leave it out"
                )
                raise ConfigError(message) from error
            self._leave_out(error)

    def log(self, record: Record) -> None:
        """Give it one record, unless it has failed before."""
        self._attempt(lambda tracker: tracker.log(record))

    def close(self, *, is_done: bool) -> None:
        """Close it, unless it has failed before."""
        self._attempt(lambda tracker: tracker.close(is_done=is_done))

    def _attempt(self, act: Callable[[Tracker], None]) -> None:
        if self._tracker is None:
            return
        try:
            act(self._tracker)
        except self._failures as error:
            self._leave_out(error)

    def _leave_out(self, error: Exception) -> None:
        self._tracker = None
        logger.warning(
            "tracking.%s: %s; the run goes on without it, and metrics.jsonl has everything",
            self._name,
            error,
        )


def _tracked_id(paths: RunPaths) -> str:
    """Return what MLflow and W&B know the run by: another one for a run that starts over."""
    if append_log.exists(paths.metrics) and uris.exists(paths.tracking):
        return str(json.loads(uris.read_bytes(paths.tracking))["id"])
    tracked_id = f"{paths.run.rpartition('/')[2]}-{uuid.uuid4().hex[:8]}"
    uris.write_bytes(paths.tracking, json.dumps({"id": tracked_id}).encode())
    return tracked_id


def _wanted(config: RunConfig, paths: RunPaths) -> Iterator[LenientTracker]:
    # Imported here: both packages are optional, and slow to import.
    if config.tracking.mlflow is None and config.tracking.wandb is None:
        return
    tracked_id = _tracked_id(paths)
    if config.tracking.mlflow is not None:
        from raykd.runs.trackers import mlflow  # noqa: PLC0415

        yield LenientTracker(
            "mlflow",
            lambda: mlflow.MlflowTracker(config, tracked_id),
            failures=mlflow.FAILURES,
        )
    if config.tracking.wandb is not None:
        from raykd.runs.trackers import wandb  # noqa: PLC0415

        yield LenientTracker(
            "wandb",
            lambda: wandb.WandbTracker(config, paths, tracked_id),
            failures=wandb.FAILURES,
        )
