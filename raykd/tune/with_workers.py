"""A run of several workers inside a trial of Ray Tune: Ray Train, which tells Tune itself."""

import logging

from ray.tune.integration.ray_train import TuneReportCallback

from raykd import storage
from raykd.config.schema.run import RunConfig
from raykd.train.paths import located
from raykd.train.ray_train import train_under_ray
from raykd.train.run import claimed_run
from raykd.train.worker import read_result

logger = logging.getLogger(__name__)


def train_with_workers(config: RunConfig) -> None:
    """Train a run to its end on workers of Ray Train.

    Raises:
        RaykdError: The run failed for good.
    """
    with claimed_run(config, has_workers=True, waits=True, on_wait=logger.warning) as paths:
        if read_result(paths) is not None:
            return
        try:
            train_under_ray(
                located(config),
                paths,
                on_retry=logger.warning,
                callbacks=[TuneReportCallback()],
            )
        finally:
            storage.delete(paths.ray)
