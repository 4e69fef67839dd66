"""Work beside the training is done one at a time, and its failures are not lost."""

import logging
import threading

import pytest
from raykd.runs.background import Background


def test_one_piece_of_work_at_a_time_in_order() -> None:
    background, begun, go_on = Background("test"), threading.Event(), threading.Event()
    done: list[int] = []

    def first() -> None:
        begun.set()
        go_on.wait()
        done.append(1)

    background.start(first)
    begun.wait()
    assert background.is_busy
    starter = threading.Thread(target=background.start, args=(lambda: done.append(2),))
    starter.start()
    assert done == []
    go_on.set()
    starter.join()
    background.wait()
    assert done == [1, 2]
    assert not background.is_busy


def fail() -> None:
    message = "no"
    raise ZeroDivisionError(message)


def test_a_failure_is_raised_once_where_it_is_asked_for() -> None:
    background = Background("test")
    background.start(fail)
    with pytest.raises(ZeroDivisionError, match="no"):
        background.wait()
    background.raise_failure()
    background.start(fail)
    with pytest.raises(ZeroDivisionError, match="no"):
        background.start(fail)
    background.wait()


def test_a_failure_beside_another_is_told_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    background = Background("at work")
    background.start(fail)
    with caplog.at_level(logging.WARNING):
        background.drain()
    assert "at work: no" in caplog.text
    background.wait()
