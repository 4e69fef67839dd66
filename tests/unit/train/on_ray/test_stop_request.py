"""What the driver asks of the workers reaches the attempt it is meant for, and no other."""

import threading

import pytest
from raykd.runs.paths import RunPaths
from raykd.runs.stop import Leave
from raykd.storage import uris
from raykd.train.on_ray.stop_request import (
    LeaveWatch,
    ask_to_leave,
    forget_request,
    watched_request,
)


@pytest.fixture
def paths(storage_uri: str) -> RunPaths:
    return RunPaths(f"{storage_uri}/run")


def test_a_request_reaches_its_attempt_alone(paths: RunPaths) -> None:
    mine, other = LeaveWatch(paths, attempt="a"), LeaveWatch(paths, attempt="b")
    mine.look()
    assert mine.asked is Leave.NO
    ask_to_leave(paths, attempt="a", reason=Leave.RESIZED)
    for watch in (mine, other):
        watch.look()
    assert (mine.asked, other.asked) == (Leave.RESIZED, Leave.NO)


def test_a_request_that_is_forgotten_is_gone(paths: RunPaths) -> None:
    ask_to_leave(paths, attempt="a", reason=Leave.STOPPED)
    forget_request(paths)
    watch = LeaveWatch(paths, attempt="a")
    watch.look()
    assert watch.asked is Leave.NO
    forget_request(paths)


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b'{"attempt": "a"}', b'{"attempt": "a", "reason": "x"}']
)
def test_what_is_no_request_asks_nothing(paths: RunPaths, content: bytes) -> None:
    uris.write_bytes(paths.leave, content)
    watch = LeaveWatch(paths, attempt="a")
    watch.look()
    assert watch.asked is Leave.NO


def test_a_request_made_before_the_workers_started_is_seen(paths: RunPaths) -> None:
    ask_to_leave(paths, attempt="a", reason=Leave.STOPPED)
    with watched_request(paths, attempt="a") as watch:
        pause = threading.Event()
        while watch.asked is Leave.NO:
            pause.wait(0.01)
    assert watch.asked is Leave.STOPPED
