"""A follower bears that the connection to a cluster is lost, and gives up one that is away."""

from collections.abc import Callable

import pytest
from ray.job_submission import JobStatus
from raykd.errors import ClusterError, ConfigError
from raykd.jobs.cluster import connect
from raykd.jobs.follow import RETRY_SECONDS, Follower

from tests.servers.jobs import JOB, job_server


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the environment back as it was: raykd sets it for Ray."""
    for name in ("RAY_API_SERVER_ADDRESS", "RAY_AUTH_MODE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr("raykd.jobs.follow._PAUSE_SECONDS", 0.0)


class Watch:
    """A clock that a test moves, and what a follower is told."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.told: list[str] = []
        self.shown: list[str] = []

    def follower(self, address: str, on_text: Callable[[str], None]) -> Follower:
        return Follower(
            connect(address), JOB, on_text=on_text, on_lost=self._lose, clock=lambda: self.seconds
        )

    def show(self, text: str) -> None:
        self.shown.append(text)
        self.seconds += 2 * RETRY_SECONDS

    def _lose(self, error: ClusterError) -> None:
        self.told.append(str(error))
        self.seconds += 2 * RETRY_SECONDS


def test_a_job_that_has_run_for_long_is_followed_through_lost_connections() -> None:
    watch = Watch()
    with job_server(["a\n", "a\nb\n", "a\nb\nc\n"]) as server:
        job = watch.follower(server.address, watch.show).follow()
    assert job.status is JobStatus.SUCCEEDED
    assert watch.shown == ["a\n", "b\n", "c\n"]
    assert len(watch.told) == 2
    assert all("closed unexpectedly" in why for why in watch.told)


def test_a_cluster_that_stays_away_is_told_once_and_given_up() -> None:
    watch = Watch()
    with job_server(["a\n"]) as server:
        follower = watch.follower(server.address, watch.show)
    with pytest.raises(ClusterError, match=r"^http://127"):
        follower.follow()
    assert len(watch.told) == 1


def test_a_head_that_has_started_anew_is_told() -> None:
    watch = Watch()
    with job_server(["a\n", ""]) as server:

        def forget(text: str) -> None:
            server.knows_job = False

        with pytest.raises(ConfigError, match="a head that has started anew knows no job"):
            watch.follower(server.address, forget).follow()


def test_each_connection_shows_what_those_before_have_not() -> None:
    watch = Watch()
    with job_server(["abcd", "ab", "abcdef", "abcdefg"]) as server:
        watch.follower(server.address, watch.show).follow()
    assert watch.shown == ["abcd", "ef", "g"]


def test_nobody_who_reads_is_no_lost_connection() -> None:
    def unread(text: str) -> None:
        raise BrokenPipeError

    watch = Watch()
    with job_server(["a\n", "a\nb\n"]) as server, pytest.raises(BrokenPipeError):
        watch.follower(server.address, unread).follow()
    assert watch.told == []
