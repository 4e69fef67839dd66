"""What is no cluster, or one of another kind, is told in one line that says what to do."""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from raykd.errors import ConfigError
from raykd.jobs.cluster import Cluster
from raykd.jobs.follow import _Unseen
from raykd.jobs.head import head_address

from tests.servers.ports import number_of, reserve_port


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the environment back as it was: raykd sets it for Ray."""
    for name in ("RAY_API_SERVER_ADDRESS", "RAY_AUTH_MODE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)


@contextmanager
def server(answer: dict[str, str] | None) -> Iterator[str]:
    """Serve one answer to all, or 404, as some other server would."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404 if answer is None else 200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()


def refusal(address: str) -> str:
    with pytest.raises(ConfigError) as refused:
        Cluster(address)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_nobody_at_the_address() -> None:
    with reserve_port() as reserved:
        told = refusal(f"http://127.0.0.1:{number_of(reserved)}")
    assert "no answer" in told
    assert "ray dashboard cluster/NAME.yaml" in told


@pytest.mark.parametrize(
    "address", ["auto", "ray://127.0.0.1:10001", "s3://bucket", "http://", "head:x"]
)
def test_an_address_of_something_else(address: str) -> None:
    assert "is not that of a job server; give the one of the cluster's dashboard" in refusal(
        address
    )


def test_another_version_of_ray() -> None:
    with server({"version": "4", "ray_version": "2.40.0"}) as address:
        assert "the cluster runs Ray 2.40.0, here is 2." in refusal(address)


@pytest.mark.parametrize("chosen", [None, "disabled"])
def test_the_token_is_sent_where_there_is_one_unless_one_says_not_to(
    monkeypatch: pytest.MonkeyPatch, chosen: str | None
) -> None:
    if chosen is not None:
        monkeypatch.setenv("RAY_AUTH_MODE", chosen)
    with server(None) as address:
        refusal(address)
    assert os.environ["RAY_AUTH_MODE"] == (chosen or "token")


def test_a_server_that_is_no_ray() -> None:
    with server(None) as address:
        assert f"{address}: Version check returned 404" in refusal(address)


def test_each_connection_shows_what_those_before_have_not() -> None:
    shown: list[str] = []
    unseen = _Unseen(shown.append)
    for connection in (["ab", "cd"], ["abc"], ["abcd", "ef"], ["a", "bcdefg"]):
        unseen.begin()
        for text in connection:
            unseen.show(text)
    assert shown == ["ab", "cd", "ef", "g"]


def test_the_head_of_kuberay_is_reached_through_a_port_forward(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text("kind: Namespace\n---\napiVersion: ray.io/v1\nkind: RayCluster\n")
    with pytest.raises(ConfigError, match="port-forward service/NAME-head-svc 8265:8265"):
        head_address(path)


def test_a_file_that_describes_no_cluster(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("name: x\n")
    with pytest.raises(ConfigError, match="a file for ray up has cluster_name and provider"):
        head_address(path)


@pytest.mark.slow
@pytest.mark.parametrize("is_up", [True, False])
def test_the_head_of_a_cluster_that_ray_up_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_up: bool
) -> None:
    # Where the provider of machines that are there keeps what it has started.
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    path = tmp_path / "cluster.yaml"
    path.write_text(
        "cluster_name: mine\nauth: {ssh_user: me}\n"
        "provider: {type: local, head_ip: 127.0.0.9, worker_ips: []}\n"
    )
    if not is_up:
        with pytest.raises(ConfigError, match=r"not found!.; start the cluster: ray up "):
            head_address(path)
        return
    tags = {"ray-node-type": "head", "ray-node-status": "up-to-date"}
    state = {"127.0.0.9": {"tags": tags, "state": "running"}}
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "cluster-mine.state").write_text(json.dumps(state))
    assert head_address(path) == "http://127.0.0.9:8265"
