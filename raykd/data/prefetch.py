"""Work ahead of an iterator's consumer, on another thread."""

import queue
import threading
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")


def prefetched(source: Iterator[T], *, depth: int) -> Iterator[T]:
    """Yield what the source yields, computing up to ``depth`` items ahead.

    An error in the source is raised where its item would have come. Closing this generator
    ends the thread.
    """
    ready: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(maxsize=depth)
    closed = threading.Event()

    def put(item: T | None, error: BaseException | None) -> bool:
        while not closed.is_set():
            try:
                ready.put((item, error), timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def run() -> None:
        try:
            for item in source:
                if not put(item, None):
                    return
        except BaseException as error:  # noqa: BLE001  it is raised again in the consumer
            put(None, error)
        else:
            put(None, StopIteration())

    thread = threading.Thread(target=run, name="raykd-prefetch", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]  # None only where there is an error
    finally:
        closed.set()
        thread.join()
