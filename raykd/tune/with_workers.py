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
from raykd.errors import StoppedError
from raykd.runs.result import read_result
from raykd.runs.stop import StopReason
from raykd.storage.published import ownership
from raykd.train.on_ray.cache_workers import cache_workers
from raykd.train.on_ray.driver import train_under_ray
from raykd.train.run import claimed_run
from raykd.tune.child import GRACE_SECONDS

logger = logging.getLogger(__name__)


def train_with_workers(config: RunConfig, *, stop_reason: Callable[[], StopReason]) -> StopReason:
    """Train a run on workers of Ray Train; return why it stopped before its end, if it did.

    Args:
        config: A run of several workers.
        stop_reason: Looked at all the time: whether the run is to stop. Its first reason stands.

    Raises:
        RaykdError: The run failed for good.
    """
    request = _Request(stop_reason=stop_reason)
    try:
        is_done = not request.is_there() and _is_trained(config, request)
    except StoppedError:
        is_done = False
    finally:
        request.grace.cancel()
    return StopReason.NONE if is_done else request.reason


def _is_trained(config: RunConfig, request: "_Request") -> bool:
    """Train a run; tell whether it is done then."""
    with claimed_run(
        config,
        has_workers=True,
        waits=True,
        on_wait=logger.warning,
        should_stop=request.is_there,
    ) as claim:
        found = read_result(claim.paths)
        if found is not None and found.is_done:
            return True

        def should_stop() -> bool:
            return request.is_there() or claim.lease.is_lost

        try:
            watch = CacheWatch(on_message=logger.warning, should_stop=should_stop)
            if not ensure_caches(claim.config, watch=watch, workers=cache_workers):
                return False
            result = train_under_ray(
                claim.config,
                claim.paths,
                on_message=logger.warning,
                should_stop=should_stop,
                callbacks=[TuneReportCallback()],
            )
        finally:
            ownership.remove(claim.paths.ray)
    return result.is_done


def _end() -> None:
    """End this process, and with it Ray Train and its workers: they have not stopped in time."""
    os._exit(1)


def _grace() -> threading.Timer:
    timer = threading.Timer(GRACE_SECONDS, _end)
    timer.daemon = True
    return timer


@dataclass(kw_only=True, slots=True)
class _Request:
    """Whether a run is to stop; from then on, it has so much time."""

    stop_reason: Callable[[], StopReason]
    reason: StopReason = StopReason.NONE
    grace: threading.Timer = field(default_factory=_grace)

    def is_there(self) -> bool:
        """Look once more."""
        if self.reason is StopReason.NONE:
            self.reason = self.stop_reason()
            if self.reason is not StopReason.NONE:
                self.grace.start()
        return self.reason is not StopReason.NONE
