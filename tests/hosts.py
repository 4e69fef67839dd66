"""Hosts on this machine: network namespaces on one bridge, which nothing outside reaches.

Each host has its own loopback, address, ports and name; the files are those of this machine. Its
link can be cut, and all its processes can be killed, as happens to real ones.
"""

import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import ClassVar

_PROGRAMS = ("ip", "unshare")
_LINK = "eth0"


def obstacle() -> str | None:
    """Return why there can be no hosts here; None where there can."""
    if missing := [name for name in _PROGRAMS if shutil.which(name) is None]:
        return f"{' and '.join(missing)} not installed; Debian has iproute2 and util-linux"
    try:
        with hosts(1):
            return None
    except subprocess.CalledProcessError as error:
        return f"no network namespaces here: {error.stderr.decode().strip()}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """One host."""

    name: str
    namespace: str
    address: str

    PREFIX: ClassVar[int] = 24

    def command(self, *command: str) -> list[str]:
        """Return what runs a command on this host, under its name."""
        named = f'hostname {self.name} && exec "$@"'
        return [
            *("ip", "netns", "exec", self.namespace),
            *("unshare", "--uts", "sh", "-c", named, "sh", *command),
        ]

    def cut(self) -> None:
        """Take the link away: nothing comes in or goes out, and nobody is told."""
        _ip("-n", self.namespace, "link", "set", _LINK, "down")

    def kill(self) -> None:
        """Kill every process that runs here."""
        while pids := _ip("netns", "pids", self.namespace).split():
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)


@contextmanager
def hosts(number: int) -> Iterator[Sequence[Host]]:
    """Give hosts that reach one another; they and their processes end with the block."""
    tag = f"rk{uuid.uuid4().hex[:6]}"
    made = [
        Host(name=f"{tag}-{n}", namespace=f"{tag}-{n}", address=f"10.0.0.{n}")
        for n in range(1, number + 1)
    ]
    bridge = f"{tag}-0"
    try:
        _ip("netns", "add", bridge)
        _ip("-n", bridge, "link", "add", "bridge", "type", "bridge")
        _ip("-n", bridge, "link", "set", "bridge", "up")
        for host in made:
            _connect(host, bridge)
        yield made
    finally:
        for host in made:
            with suppress(subprocess.CalledProcessError):
                host.kill()
        for namespace in (bridge, *(host.namespace for host in made)):
            with suppress(subprocess.CalledProcessError):
                _ip("netns", "delete", namespace)


def _connect(host: Host, bridge: str) -> None:
    """Make a host whose link ends at the bridge."""
    _ip("netns", "add", host.namespace)
    port = f"port{host.address.rpartition('.')[2]}"
    peer = ("peer", "name", port, "netns", bridge)
    _ip("-n", host.namespace, "link", "add", _LINK, "type", "veth", *peer)
    _ip("-n", bridge, "link", "set", port, "master", "bridge", "up")
    _ip("-n", host.namespace, "address", "add", f"{host.address}/{Host.PREFIX}", "dev", _LINK)
    for link in ("lo", _LINK):
        _ip("-n", host.namespace, "link", "set", link, "up")
    # To nowhere: programs ask which address would be theirs on the way out.
    _ip("-n", host.namespace, "route", "add", "default", "dev", _LINK)


def _ip(*arguments: str) -> str:
    """Run ``ip``; return what it prints."""
    command = [shutil.which("ip") or "ip", *arguments]
    return subprocess.run(command, check=True, capture_output=True).stdout.decode()
