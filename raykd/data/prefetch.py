"""Work ahead of an iterator's consumer, on another thread."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

# A default for next(): StopIteration out of a future would end this generator by a RuntimeError
# (PEP 479).
_END: Any = object()


def prefetched(source: Iterator[T], *, depth: int) -> Iterator[T]:
    """Yield what the source yields, computing up to ``depth`` items ahead.

    An error in the source is raised where its item would have come. Closing this generator
    ends the thread.
    """
    thread = ThreadPoolExecutor(1, thread_name_prefix="raykd-prefetch")
    ahead = deque(thread.submit(next, source, _END) for _ in range(depth))
    try:
        while (item := ahead.popleft().result()) is not _END:
            ahead.append(thread.submit(next, source, _END))
            yield item
    finally:
        thread.shutdown(cancel_futures=True)
