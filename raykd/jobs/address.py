"""Where the job server of a cluster is, and whether it is there."""

import socket
from contextlib import closing
from urllib.parse import urlsplit

from raykd.errors import ConfigError

_CONNECT_SECONDS = 10.0


def job_server(address: str) -> str:
    """Return the URL that an address means.

    Raises:
        ConfigError: It is that of something else, such as of the cluster's own protocol.
    """
    url = address if "://" in address else f"http://{address}"
    try:
        parts = urlsplit(url)
        is_one = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_one = False
    if address == "auto" or not is_one:
        message = (
            f"address {address!r}: is not that of a job server; give the one of the cluster's "
            "dashboard, such as http://HOST:8265"
        )
        raise ConfigError(message)
    return url.rstrip("/")


def require_answer(url: str) -> None:
    """Check that somebody listens: Ray would wait for minutes.

    Raises:
        ConfigError: Nobody does.
    """
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((str(parts.hostname), port), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        message = (
            f"{url}: no answer ({error}); give --address with what the head's dashboard listens "
            "on. From outside of a cloud, `ray dashboard cluster/NAME.yaml` or `kubectl "
            "port-forward` leads to it, and http://127.0.0.1:8265 is the address then"
        )
        raise ConfigError(message) from error


def is_own(address: str) -> bool:
    """Tell whether an address is one of this machine's: others cannot be bound to."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_DGRAM)) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
