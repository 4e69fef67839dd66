"""Where the workers' connections come in: at the interface that has the node's address."""

import os

import pytest
from raykd.ray_cluster.connect import have_gloo_listen_at

NAME = "GLOO_SOCKET_IFNAME"


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    # Set first, so that what the test leaves is undone.
    monkeypatch.setenv(NAME, "")
    monkeypatch.delenv(NAME)


def test_gloo_listens_at_the_interface_of_the_node(unset: None) -> None:
    have_gloo_listen_at("127.0.0.1")
    assert os.environ[NAME].startswith("lo")


def test_what_the_user_has_said_stays(unset: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "eth7")
    have_gloo_listen_at("127.0.0.1")
    assert os.environ[NAME] == "eth7"


@pytest.mark.parametrize("address", ["192.0.2.77", "2001:db8::1"])
def test_an_address_of_no_interface_is_left_to_gloo(unset: None, address: str) -> None:
    have_gloo_listen_at(address)
    assert NAME not in os.environ
