"""A run of several workers inside a trial of Ray Tune: Ray Train, which tells Tune itself."""

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from ray.tune.integration.ray_train import TuneReportCallback

from raykd.config.schema.run import RunConfig
from raykd.errors import StoppedError
from raykd.runs.stop import StopReason
from raykd.train.run import leased_run, train_on_workers
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
        # Also where training failed: this process has to live until Tune has its error.
        request.grace.cancel()
    return StopReason.NONE if is_done else request.reason


def _is_trained(config: RunConfig, request: "_Request") -> bool:
    """Train a run; tell whether it is done then."""
    with leased_run(
        config,
        has_workers=True,
        waits=True,
        on_message=logger.warning,
        should_stop=request.is_there,
    ) as run:
        result = run.result or train_on_workers(run, callbacks=[TuneReportCallback()])
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
