"""The job server of a cluster, through Ray's own client."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager

import aiohttp
from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient
from ray.util.state import list_nodes
from ray.util.state.exception import RayStateApiException

from raykd.errors import ClusterError, ConfigError
from raykd.ray_cluster.private import maybe_enable_token_auth_if_token_available

# Ray's own most; by default it would return 100, and hide the machines beyond.
_MOST_NODES = 10_000
_ADDRESS = "RAY_API_SERVER_ADDRESS"
_TALKATIVE = (
    "ray._private.authentication.authentication_token_setup",
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
)
# Ray's client raises RuntimeError for every status of HTTP but 200, ValueError for addresses it
# cannot read, and lets those of requests (an OSError) and aiohttp through.
_FAILURES = (OSError, RuntimeError, ValueError, aiohttp.ClientError, RayStateApiException)


def connect(address: str | None) -> JobSubmissionClient:
    """Return the client of the job server at an address.

    Args:
        address: Such as http://HOST:8265; None for where Ray's own commands look: in
            RAY_API_SERVER_ADDRESS, in RAY_ADDRESS, and for a Ray on this machine.

    Raises:
        ConfigError: None is there, or it refuses the token.
    """
    if address is not None:
        # Ray prefers this to what it is given.
        os.environ[_ADDRESS] = address
    # They tell of the token and of every package, whatever is asked of those above them.
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)
    # What Ray starts asks for the token, if there is one; its clients of jobs send none unasked.
    maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    try:
        with answered(address or os.environ.get(_ADDRESS) or "the job server"):
            return JobSubmissionClient(address)
    except ClusterError as error:
        message = (
            f"{error}; give --address with what the head's dashboard listens on, such as "
            "http://HOST:8265. From outside of a cloud, `ray dashboard cluster/NAME.yaml` or "
            "`kubectl port-forward` leads to it, and http://127.0.0.1:8265 is the address then"
        )
        raise ConfigError(message) from error


def is_on_this_machine(client: JobSubmissionClient) -> bool:
    """Tell whether all machines of a cluster are this one.

    Its address does not: ``ray dashboard`` and port-forwards lead to others from loopback.
    """
    with answered(client.get_address()):
        nodes = list_nodes(
            client.get_address(),
            filters=[("state", "=", "ALIVE")],
            limit=_MOST_NODES,
            # One machine that does not answer must not hide that others are there.
            raise_on_missing_output=False,
        )
    return all(_is_own(node.node_ip) for node in nodes)


@contextmanager
def answered(address: str) -> Iterator[None]:
    """Turn whatever Ray raises in the block into one line.

    Raises:
        ConfigError: The server refuses the token.
        ClusterError: It does not answer, or drops the request.
    """
    try:
        yield
    except AuthenticationError as error:
        message = f"{address}: {' '.join(str(error).split())}"
        raise ConfigError(message) from error
    except BrokenPipeError:
        # Of whoever reads what is shown: clients raise their own for a connection.
        raise
    except _FAILURES as error:
        # Before the last line are the tracebacks of Ray's servers.
        lines = [line.strip(" .") for line in str(error).splitlines() if line.strip(" .")]
        message = f"{address}: {lines[-1] if lines else type(error).__name__}"
        raise ClusterError(message) from error


def _is_own(address: str) -> bool:
    """Tell whether an address is one of this machine's: others cannot be bound to."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    # A datagram socket that is bound and closed sends nothing, and port 0 takes no fixed one.
    with closing(socket.socket(family, socket.SOCK_DGRAM)) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
