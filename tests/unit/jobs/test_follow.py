"""A follower bears that the connection to a cluster is lost, and gives up one that is away."""

from collections.abc import Callable

import pytest
from raykd.cli.main import main
from raykd.errors import ClusterError, ConfigError
from raykd.jobs.cluster import Cluster
from raykd.jobs.follow import PATIENCE_SECONDS, Connection, follow, wait_until_over
from raykd.jobs.job import Job

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
        self.connection = Connection(self._lose, clock=lambda: self.seconds)

    def show(self, text: str) -> None:
        self.shown.append(text)
        self.seconds += 2 * PATIENCE_SECONDS

    def _lose(self, error: ClusterError) -> None:
        self.told.append(str(error))
        self.seconds += 2 * PATIENCE_SECONDS


def test_a_job_that_has_run_for_long_is_followed_through_lost_connections() -> None:
    watch = Watch()
    with job_server(["a\n", "a\nb\n", "a\nb\nc\n"]) as server:
        job = follow(Cluster(server.address), JOB, watch.show, watch.connection)
    assert job.is_over
    assert watch.shown == ["a\n", "b\n", "c\n"]
    assert len(watch.told) == 2
    assert all("closed unexpectedly" in why for why in watch.told)


@pytest.mark.parametrize("waits", [follow, wait_until_over])
def test_a_cluster_that_stays_away_is_told_once_and_given_up(waits: Callable[..., Job]) -> None:
    watch = Watch()
    with job_server(["a\n"]) as server:
        cluster = Cluster(server.address)
    shows = [watch.show] if waits is follow else []
    with pytest.raises(ClusterError, match=r"^http://127"):
        waits(cluster, JOB, *shows, watch.connection)
    assert len(watch.told) == 1


def test_a_head_that_has_started_anew_is_told() -> None:
    watch = Watch()
    with job_server(["a\n", ""]) as server:

        def forget(text: str) -> None:
            server.knows_job = False

        with pytest.raises(ConfigError, match="A head that has started anew knows no job"):
            follow(Cluster(server.address), JOB, forget, watch.connection)


def test_whoever_follows_hears_that_the_connection_is_tried_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with job_server(["step 1\n", "step 1\nstep 2\n"]) as server:
        assert main(["logs", JOB, "--follow", "--address", server.address]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"step 1\nstep 2\n{JOB}: done\n"
    assert printed.err.endswith(": connection lost, trying again\n")
