"""Working ahead changes nothing but the time."""

import threading
from collections.abc import Iterator

import pytest
from raykd.data.prefetch import prefetched


def test_yields_everything_in_order() -> None:
    assert list(prefetched(iter(range(100)), depth=3)) == list(range(100))


def test_raises_where_the_source_raises() -> None:
    def source() -> Iterator[int]:
        yield 1
        message = "broken"
        raise OSError(message)

    ahead = prefetched(source(), depth=2)
    assert next(ahead) == 1
    with pytest.raises(OSError, match="broken"):
        next(ahead)


def test_reads_no_further_ahead_than_the_depth() -> None:
    pulled = []

    def source() -> Iterator[int]:
        for item in range(1_000):
            pulled.append(item)
            yield item

    ahead = prefetched(source(), depth=2)
    assert next(ahead) == 0
    ahead.close()  # type: ignore[attr-defined]  # a generator
    assert len(pulled) <= 5


def test_closing_leaves_no_thread_behind() -> None:
    before = set(threading.enumerate())
    ahead = prefetched(iter(range(100)), depth=4)
    assert next(ahead) == 0
    assert set(threading.enumerate()) > before
    ahead.close()  # type: ignore[attr-defined]  # a generator
    assert set(threading.enumerate()) == before
