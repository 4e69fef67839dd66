"""What is no cluster, or one of another kind, is told in one line that says what to do."""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from raykd.errors import ConfigError
from raykd.jobs.cluster import connect

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
        connect(address)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_nobody_at_the_address() -> None:
    with reserve_port() as reserved:
        told = refusal(f"http://127.0.0.1:{number_of(reserved)}")
    assert "Failed to connect to Ray at address" in told
    assert "ray dashboard cluster/NAME.yaml" in told


@pytest.mark.parametrize("address", ["s3://bucket", "http://", "head:x"])
def test_an_address_of_something_else(address: str) -> None:
    assert "give --address with what the head's dashboard listens on" in refusal(address)


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
