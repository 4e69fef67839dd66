"""What Ctrl-C and SIGTERM mean to a command that trains: stop in order; twice: end at once."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

GRACE_SECONDS = 60.0
"""What is under way at the second signal has so long: the store of an upload may be away."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interruptible(*, grace_seconds: float = GRACE_SECONDS) -> Iterator[threading.Event]:
    """Yield an event that the first SIGINT or SIGTERM sets; the second one interrupts the block.

    Args:
        grace_seconds: After the second one, the process ends in so long, whatever it waits for.

    Raises:
        KeyboardInterrupt: At the second one.
    """
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        if stopped.is_set():
            _end_after(grace_seconds)
            signal.default_int_handler(number, frame)
        stopped.set()

    usual = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        yield stopped
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)


def _end_after(seconds: float) -> None:
    # Python waits at its end for the threads that transfer files; a daemon goes on meanwhile.
    timer = threading.Timer(seconds, _end)
    timer.daemon = True
    timer.start()


def _end() -> None:
    print("raykd: interrupted; not all could be put in order", file=sys.stderr, flush=True)
    # Not sys.exit: in a thread it ends the thread alone, and the end of the process would wait for
    # transfers.
    os._exit(1)
