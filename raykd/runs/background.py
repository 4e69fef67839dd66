"""One piece of work at a time beside the training; its failure reaches the training."""

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)


class Background:
    """A thread for work that the next step need not wait for."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    @property
    def is_busy(self) -> bool:
        """Whether work is under way."""
        return self._thread is not None and self._thread.is_alive()

    def start(self, work: Callable[[], None]) -> None:
        """Begin, after what is under way has ended.

        Raises:
            Exception: What the earlier work raised.
        """
        self.wait()

        def run() -> None:
            try:
                work()
            except Exception as error:  # noqa: BLE001  raised again in the training
                self._error = error

        # A daemon: who interrupts a second time does not wait for an upload.
        self._thread = threading.Thread(target=run, name=self._name, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Return when nothing is under way.

        Raises:
            Exception: What the work raised.
        """
        self._join()
        self.raise_failure()

    def drain(self) -> None:
        """Return when nothing is under way; a failure is told in the log alone."""
        self._join()
        if self._error is not None:
            logger.warning("%s: %s", self._name, self._error)
            self._error = None

    def raise_failure(self) -> None:
        """Raise what work that has ended raised, once."""
        if not self.is_busy and (error := self._error) is not None:
            self._error = None
            raise error

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()
