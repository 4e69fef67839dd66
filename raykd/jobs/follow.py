"""Follow a job to its end, through lost connections."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from raykd.errors import ClusterError
from raykd.jobs.cluster import Cluster
from raykd.jobs.job import Job

PATIENCE_SECONDS = 120.0
"""A cluster that does not answer for so long is given up; the job itself goes on."""

_PAUSE_SECONDS = 1.0


class Connection:
    """Bears that a cluster is lost, as long as it is heard again before the patience ends.

    Args:
        on_lost: Told why, once for each time that the cluster falls silent.
        patience_seconds: How long it may.
        clock: Seconds of a clock that only moves forward.
    """

    def __init__(
        self,
        on_lost: Callable[[ClusterError], None],
        *,
        patience_seconds: float = PATIENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_lost = on_lost
        self._patience_seconds = patience_seconds
        self._clock = clock
        self._is_lost = False
        self.hear()

    def hear(self) -> None:
        """Note that the cluster is there."""
        self._heard = self._clock()
        self._is_lost = False

    @contextmanager
    def bearing(self) -> Iterator[None]:
        """Go on after the block where the cluster is lost in it.

        Raises:
            ClusterError: It has been lost for longer than the patience.
        """
        try:
            yield
        except ClusterError as error:
            if self._clock() - self._heard > self._patience_seconds:
                raise
            if not self._is_lost:
                self._is_lost = True
                self._on_lost(error)


class _Unseen:
    """Hands on what was not handed on before: each connection begins with the first line."""

    def __init__(self, on_text: Callable[[str], None]) -> None:
        self._on_text = on_text
        self._seen = 0
        self._passed = 0

    def begin(self) -> None:
        self._passed = 0

    def show(self, text: str) -> None:
        unseen = text[max(0, self._seen - self._passed) :]
        self._passed += len(text)
        self._seen = max(self._seen, self._passed)
        if unseen:
            self._on_text(unseen)


def follow(
    cluster: Cluster, job_id: str, on_text: Callable[[str], None], connection: Connection
) -> Job:
    """Hand on what a job prints until it has ended, each line once; return the job.

    Raises:
        ConfigError: The cluster does not know the job.
        ClusterError: It is lost for longer than the patience.
    """
    unseen = _Unseen(on_text)

    def hear(text: str) -> None:
        unseen.show(text)
        connection.hear()

    while True:
        unseen.begin()
        with connection.bearing():
            # A head that has started anew has no log either, and does not say why.
            cluster.job(job_id)
            cluster.follow(job_id, hear)
            if (job := cluster.job(job_id)).is_over:
                return job
            connection.hear()
        pause()


def wait_until_over(cluster: Cluster, job_id: str, connection: Connection) -> Job:
    """Wait until a job has ended; return it.

    Raises:
        ConfigError: The cluster does not know the job.
        ClusterError: It is lost for longer than the patience.
    """
    while True:
        with connection.bearing():
            if (job := cluster.job(job_id)).is_over:
                return job
            connection.hear()
        pause()


def pause() -> None:
    """Wait for what a cluster does meanwhile."""
    threading.Event().wait(_PAUSE_SECONDS)
