"""A run of several workers inside a trial of Ray Tune: Ray Train, which tells Tune itself."""

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from ray.tune.integration.ray_train import TuneReportCallback

from raykd.cached_teachers.build import ensure_caches
from raykd.cached_teachers.writer import CacheWatch
from raykd.config.schema.run import RunConfig
from raykd.runs.result import read_result
from raykd.runs.stop import Leave
from raykd.storage.published import ownership
from raykd.train.on_ray.cache_workers import cache_workers
from raykd.train.on_ray.driver import train_under_ray
from raykd.train.run import claimed_run
from raykd.tune.child import GRACE_SECONDS

logger = logging.getLogger(__name__)


def train_with_workers(config: RunConfig, *, asked: Callable[[], Leave]) -> Leave:
    """Train a run on workers of Ray Train; return why it left before its end, if it did.

    Args:
        config: A run of several workers.
        asked: Looked at all the time: whether the run is to leave. A wish stands.

    Raises:
        RaykdError: The run failed for good.
    """
    wish = _Wish(asked=asked)
    if wish.is_there():
        return wish.leave
    with claimed_run(config, has_workers=True, waits=True, on_wait=logger.warning) as claim:
        found = read_result(claim.paths)
        if found is not None and found.is_done:
            return Leave.NO

        def should_stop() -> bool:
            return wish.is_there() or claim.lease.is_lost

        try:
            watch = CacheWatch(on_message=logger.warning, should_stop=should_stop)
            if not ensure_caches(claim.config, watch=watch, workers=cache_workers):
                return wish.leave
            result = train_under_ray(
                claim.config,
                claim.paths,
                on_message=logger.warning,
                should_stop=should_stop,
                callbacks=[TuneReportCallback()],
            )
        finally:
            wish.grace.cancel()
            ownership.remove(claim.paths.ray)
    return Leave.NO if result.is_done else wish.leave


def _end() -> None:
    """End this process, and with it Ray Train and its workers: they have not left in time."""
    os._exit(1)


def _grace() -> threading.Timer:
    timer = threading.Timer(GRACE_SECONDS, _end)
    timer.daemon = True
    return timer


@dataclass(kw_only=True, slots=True)
class _Wish:
    """Whether a run is to leave; from then on, it has so much time."""

    asked: Callable[[], Leave]
    leave: Leave = Leave.NO
    grace: threading.Timer = field(default_factory=_grace)

    def is_there(self) -> bool:
        """Look once more."""
        if self.leave is Leave.NO and (leave := self.asked()) is not Leave.NO:
            self.leave = leave
            self.grace.start()
        return self.leave is not Leave.NO
