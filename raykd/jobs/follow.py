"""Follow a job to its end, through lost connections."""

import threading
import time
from collections.abc import Callable

from raykd.errors import ClusterError
from raykd.jobs.cluster import Cluster
from raykd.jobs.job import Job

PATIENCE_SECONDS = 120.0
"""A cluster that does not answer for so long is given up; the job itself goes on."""

_PAUSE_SECONDS = 1.0


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
    cluster: Cluster,
    job_id: str,
    on_text: Callable[[str], None],
    *,
    patience_seconds: float = PATIENCE_SECONDS,
) -> Job:
    """Hand on what a job prints until it has ended, each line once; return the job.

    Raises:
        ConfigError: The cluster does not know the job.
        ClusterError: It has not answered for longer than the patience.
    """
    unseen = _Unseen(on_text)
    heard = time.monotonic()
    while True:
        unseen.begin()
        try:
            cluster.follow(job_id, unseen.show)
            job = cluster.job(job_id)
        except ClusterError:
            if time.monotonic() - heard > patience_seconds:
                raise
        else:
            if job.is_over:
                return job
            heard = time.monotonic()
        pause()


def wait_until_over(cluster: Cluster, job_id: str) -> Job:
    """Wait until a job has ended; return it."""
    while not (job := cluster.job(job_id)).is_over:
        pause()
    return job


def pause() -> None:
    """Wait for what a cluster does meanwhile."""
    threading.Event().wait(_PAUSE_SECONDS)
