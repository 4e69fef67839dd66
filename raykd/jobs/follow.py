"""Follow a job to its end, through lost connections, at which Ray's follower ends (ray#51601)."""

import asyncio
import threading
import time
from collections.abc import Callable

from ray.job_submission import JobDetails, JobSubmissionClient

from raykd.errors import ClusterError, ConfigError
from raykd.jobs.cluster import answered

RETRY_SECONDS = 120.0
"""A cluster that does not answer for so long is given up; the job itself goes on."""

_PAUSE_SECONDS = 1.0
_LOOK_SECONDS = 30.0
"""After so long without a line the job is asked for: the connection may be dead."""


class Follower:
    """Hands on what a job prints, each line once.

    Args:
        client: Client of the job's cluster.
        job_id: Submission id of the job.
        on_text: Told what is printed.
        on_lost: Told why, once for each time that the cluster falls silent.
        clock: Seconds of a clock that only moves forward.
    """

    def __init__(
        self,
        client: JobSubmissionClient,
        job_id: str,
        *,
        on_text: Callable[[str], None],
        on_lost: Callable[[ClusterError], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._job_id = job_id
        self._on_text = on_text
        self._on_lost = on_lost
        self._clock = clock
        self._num_shown = 0
        self._note_answer()

    def follow(self) -> JobDetails:
        """Return the job once it has ended.

        Raises:
            ConfigError: The cluster does not know the job.
            ClusterError: It does not answer for longer than RETRY_SECONDS.
        """
        while True:
            try:
                # A head that has started anew has no log either, and does not say why.
                self._job()
                with answered(self._client.get_address()):
                    asyncio.run(self._tail())
                if (job := self._job()).status.is_terminal():
                    return job
                self._note_answer()
            except ClusterError as error:
                self._tolerate(error)
            threading.Event().wait(_PAUSE_SECONDS)

    async def _tail(self) -> None:
        # Pieces of text, cut anywhere and not at lines: positions are counted in characters.
        texts = self._client.tail_job_logs(self._job_id)
        num_passed = 0
        while True:
            # asyncio.wait and not wait_for: at its timeout the second cancels what it waits for,
            # and an asynchronous generator that is cancelled is at its end.
            coming = asyncio.ensure_future(anext(texts, None))
            while not (await asyncio.wait({coming}, timeout=_LOOK_SECONDS))[0]:
                if self._job().status.is_terminal():
                    coming.cancel()
                    return
                self._note_answer()
            if (text := coming.result()) is None:
                return
            # Each connection begins with the first line.
            if unseen := text[max(0, self._num_shown - num_passed) :]:
                self._on_text(unseen)
            num_passed += len(text)
            self._num_shown = max(self._num_shown, num_passed)
            self._note_answer()

    def _job(self) -> JobDetails:
        with answered(self._client.get_address()):
            try:
                return self._client.get_job_info(self._job_id)
            except RuntimeError as error:
                # Ray's client has one class for all answers, and tells the status in the text
                # alone.
                if "status code 404" not in str(error):
                    raise
        message = (
            f"{self._client.get_address()}: has no job {self._job_id} any more: a head that has "
            "started anew knows no job from before; submit it again to go on"
        )
        raise ConfigError(message)

    def _note_answer(self) -> None:
        self._answered_at = self._clock()
        self._is_lost = False

    def _tolerate(self, error: ClusterError) -> None:
        if self._clock() - self._answered_at > RETRY_SECONDS:
            raise error
        if not self._is_lost:
            self._is_lost = True
            self._on_lost(error)
