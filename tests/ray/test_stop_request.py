"""What a driver asks through the head of Ray reaches those whom it is meant for, and no others."""

import threading
from collections.abc import Iterator

import pytest
from raykd.ray_cluster.connect import LOCAL, ray_cluster
from raykd.runs.stop import StopReason

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]


@pytest.fixture(scope="module", autouse=True)
def local_ray() -> Iterator[None]:
    with ray_cluster(LOCAL, num_cpus=1, num_gpus=0):
        yield


def test_a_request_reaches_its_key_alone_until_it_is_withdrawn() -> None:
    from raykd.train.on_ray.stop_request import (  # noqa: PLC0415  Ray's environment is set above
        request_stop,
        stop_requested,
        withdraw_stop,
    )

    assert stop_requested("a") is StopReason.NONE
    request_stop("a", StopReason.RESIZED)
    assert (stop_requested("a"), stop_requested("b")) == (StopReason.RESIZED, StopReason.NONE)
    # Of two, the later one: the driver asks for what counts more.
    request_stop("a", StopReason.STOPPED)
    assert stop_requested("a") is StopReason.STOPPED
    for _ in range(2):
        withdraw_stop("a")
        assert stop_requested("a") is StopReason.NONE


def test_starts_of_a_sweep_ask_their_own_runs_alone() -> None:
    from raykd.train.on_ray.stop_request import StopRequests, stop_requested  # noqa: PLC0415  as above

    mine, others = StopRequests(), StopRequests()
    mine.add(["run"])
    mine.add(["run", "another"])
    assert stop_requested(mine.key("run")) is StopReason.STOPPED
    assert stop_requested(mine.key("another")) is StopReason.STOPPED
    assert stop_requested(others.key("run")) is StopReason.NONE
    mine.withdraw()
    assert stop_requested(mine.key("run")) is StopReason.NONE


def test_a_request_made_before_its_workers_are_there_is_seen() -> None:
    from raykd.train.on_ray.stop_request import request_stop, watched_requests  # noqa: PLC0415  as above

    request_stop("early")
    with watched_requests("early") as stop_reason:
        pause = threading.Event()
        while stop_reason() is StopReason.NONE:
            pause.wait(0.01)
    assert stop_reason() is StopReason.STOPPED
