"""One run of a sweep inside Ray Tune, in a process of its own.

A run of one worker trains right there. A run of several starts Ray Train inside. Either way the
run finds its newest checkpoint itself, and Tune hears of evaluations only.
"""

import contextlib
import json
import logging
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from ray.tune.integration.ray_train import TuneReportCallback

from ray import tune
from raykd import storage
from raykd.config.load import checked_run
from raykd.config.schema.run import RunConfig
from raykd.distill.world import World
from raykd.errors import StorageError
from raykd.train.paths import RunPaths, located
from raykd.train.ray_train import train_under_ray
from raykd.train.run import claimed_run, device_of
from raykd.train.worker import Context, read_result, train_worker

logger = logging.getLogger(__name__)


def train_trial(arguments: dict[str, Any]) -> None:
    """Train a run to its end; where another sweep is at it, wait for that.

    Args:
        arguments: ``run``, the id; ``config``, the run as JSON: Tune reads nothing into it.
    """
    config = checked_run(json.loads(arguments["config"]), origin=arguments["run"])
    has_workers = config.cluster.num_workers > 1
    with (
        _logged(arguments["log"]),
        claimed_run(config, has_workers=has_workers, waits=True, on_wait=logger.warning) as paths,
    ):
        if read_result(paths) is not None:
            logger.info("%s is done", paths.run)
        elif has_workers:
            _train_with_workers(located(config), paths)
        else:
            _train_alone(located(config), paths)


def _train_alone(config: RunConfig, paths: RunPaths) -> None:
    torch.set_num_threads(max(1, math.floor(config.cluster.cpus_per_worker)))
    train_worker(
        config,
        paths,
        Context(
            world=World(device=device_of(config)),
            report=lambda metrics: tune.report(dict(metrics)),
            should_stop=lambda: False,
        ),
    )


def _train_with_workers(config: RunConfig, paths: RunPaths) -> None:
    try:
        train_under_ray(config, paths, on_retry=logger.warning, callbacks=[TuneReportCallback()])
    finally:
        storage.delete(paths.ray)


@contextlib.contextmanager
def _logged(uri: str) -> Iterator[None]:
    """Add what the block prints and logs to the file at a URI, an error with its traceback."""
    with contextlib.ExitStack() as stack:
        if storage.is_local(uri):
            path = Path(uri)
            path.parent.mkdir(parents=True, exist_ok=True)
        else:
            path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "log.txt"
            with contextlib.suppress(FileNotFoundError):
                path.write_bytes(storage.read_bytes(uri))
            stack.callback(_upload, path, uri)
        stream = stack.enter_context(path.open("a", buffering=1))
        stack.enter_context(contextlib.redirect_stdout(stream))
        stack.enter_context(contextlib.redirect_stderr(stream))
        handler = logging.StreamHandler(stream)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        root = logging.getLogger()
        root.addHandler(handler)
        stack.callback(root.removeHandler, handler)
        try:
            yield
        except BaseException:
            logger.exception("the run failed")
            raise


def _upload(path: Path, uri: str) -> None:
    try:
        storage.write_bytes(uri, path.read_bytes())
    except StorageError as error:
        logger.warning("the log of the run is lost: %s", error)
