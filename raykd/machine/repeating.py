"""What is done again and again beside the work of a process."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def repeating(seconds: float, action: Callable[[], bool | None], *, name: str) -> Iterator[None]:
    """Call an action in a thread of its own, so many seconds apart, while the block runs.

    The first call comes after the first pause; none is under way when the block is left.

    Args:
        seconds: Between the end of a call and the next one.
        action: Returns True where it need not be called again. It handles its own errors: one
            that it raises ends the thread alone.
        name: Name of the thread.
    """
    ended = threading.Event()

    def repeat() -> None:
        is_done: bool | None = False
        while not is_done and not ended.wait(seconds):
            is_done = action()

    # A daemon: a call that hangs must not keep the process from ending.
    thread = threading.Thread(target=repeat, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
