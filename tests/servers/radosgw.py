"""Ceph's S3 gateway on one machine: a monitor, one store in memory and ``radosgw``.

Unlike rclone it knows conditional puts. Its programs come with the operating system (Debian:
``ceph-mon ceph-osd radosgw``), so it serves where they are installed; see ``missing_programs``.
"""

import shutil
import signal
import socket
import subprocess
import uuid
from pathlib import Path

from tests.servers.ports import HOST, number_of, reserve_port, wait_until_listening

ACCESS_KEY = "RADOSACCESSKEYOFTESTS"
SECRET_KEY = "rados-secret-that-no-message-may-show"  # noqa: S105  # of a server of tests only

PROGRAMS = (
    "ceph",
    "ceph-authtool",
    "ceph-mon",
    "ceph-osd",
    "monmaptool",
    "radosgw",
    "radosgw-admin",
)

_LIMIT_SECONDS = 120.0

_KEYS = {
    "mon.": ("mon", "allow *"),
    "client.admin": ("mon", "allow *", "osd", "allow *", "mgr", "allow *"),
    "client.rgw": ("mon", "allow rw", "osd", "allow rwx"),
    "osd.0": ("mon", "allow profile osd", "osd", "allow *"),
}


def missing_programs() -> list[str]:
    """Return the programs of Ceph that this machine does not have."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


class Radosgw:
    """One cluster in one directory; the gateway can be killed and started again."""

    access_key = ACCESS_KEY
    secret_key = SECRET_KEY

    def __init__(self, directory: Path) -> None:
        if missing := missing_programs():
            message = f"{', '.join(missing)}: not installed; Debian has ceph-mon ceph-osd radosgw"
            raise FileNotFoundError(message)
        self._directory = directory
        # The monitor's two protocols, then the gateway.
        self._reserved = [reserve_port() for _ in range(3)]
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def port(self) -> int:
        """Where the gateway listens while it runs."""
        return number_of(self._reserved[2])

    @property
    def endpoint(self) -> str:
        """The URL of the gateway."""
        return f"http://{HOST}:{self.port}"

    def start(self) -> None:
        """Make the cluster, start all of it and create the user."""
        for name in ("mon", "osd", "run", "log", "rgw"):
            (self._directory / name).mkdir(parents=True)
        (self._directory / "ceph.conf").write_text(_config(self._directory, self._reserved))
        self._make_keys()
        self._start_monitor()
        self._start_store()
        shutil.copy(self._directory / "keyring", self._directory / "rgw" / "keyring")
        self.start_gateway()
        keys = (f"--access-key={ACCESS_KEY}", f"--secret-key={SECRET_KEY}")
        self._run("radosgw-admin", "user", "create", "--uid=t", "--display-name=t", *keys)

    def start_gateway(self) -> None:
        """Start radosgw where it does not run, and wait until it listens."""
        if "radosgw" not in self._running:
            process = self._spawn("radosgw", "-n", "client.rgw", "-f")
            log = self._directory / "log" / "radosgw.out"
            wait_until_listening(self.port, process, log, limit_seconds=_LIMIT_SECONDS)

    def kill(self) -> None:
        """End the gateway by SIGKILL; what it has answered stays in the store."""
        _end(self._running.pop("radosgw", None))

    def restart(self) -> None:
        """Kill the gateway where it runs and start it again, on the same port."""
        self.kill()
        self.start_gateway()

    def close(self) -> None:
        """Kill all of it and give the ports back."""
        for name in list(self._running):
            _end(self._running.pop(name))
        for reserved in self._reserved:
            reserved.close()

    def _make_keys(self) -> None:
        for number, (name, caps) in enumerate(_KEYS.items()):
            create = ["--create-keyring"] if number == 0 else []
            pairs = [
                item
                for kind, cap in zip(caps[::2], caps[1::2], strict=True)
                for item in ("--cap", kind, cap)
            ]
            self._run("ceph-authtool", *create, "keyring", "--gen-key", "-n", name, *pairs)

    def _start_monitor(self) -> None:
        first, second = (number_of(reserved) for reserved in self._reserved[:2])
        addresses = f"[v2:{HOST}:{first},v1:{HOST}:{second}]"
        fsid = _fsid(self._directory)
        self._run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", addresses, "monmap")
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", "monmap", "--keyring", "keyring")
        self._spawn("ceph-mon", "-i", "a", "-f")

    def _start_store(self) -> None:
        # The same name here and there, or the store is another one to the monitor.
        name = str(uuid.uuid4())
        number = self._run("ceph", "osd", "new", name).decode().strip()
        self._run("ceph-osd", "-i", number, "--mkfs", "--osd-uuid", name)
        self._spawn("ceph-osd", "-i", number, "-f")

    def _run(self, *command: str) -> bytes:
        return subprocess.run(
            [*command, "-c", "ceph.conf"] if command[0] not in _WITHOUT_CONFIG else list(command),
            cwd=self._directory,
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_LIMIT_SECONDS,
        ).stdout

    def _spawn(self, *command: str) -> subprocess.Popen[bytes]:
        with (self._directory / "log" / f"{command[0]}.out").open("ab") as log:
            process = subprocess.Popen(
                [*command, "-c", "ceph.conf"], cwd=self._directory, stdout=log, stderr=log
            )
        self._running[command[0]] = process
        return process


_WITHOUT_CONFIG = ("ceph-authtool", "monmaptool")


def _end(process: subprocess.Popen[bytes] | None) -> None:
    if process is not None:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _fsid(directory: Path) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, str(directory)))


def _config(directory: Path, reserved: list[socket.socket]) -> str:
    first, second, gateway = (number_of(each) for each in reserved)
    return f"""[global]
fsid = {_fsid(directory)}
mon host = [v2:{HOST}:{first},v1:{HOST}:{second}]
public addr = {HOST}
cluster addr = {HOST}
ms bind ipv6 = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd crush chooseleaf type = 0
osd objectstore = memstore
osd data = {directory}/osd
osd max object name len = 256
memstore device bytes = 4294967296
memstore page set = true
mon data = {directory}/mon
mon allow pool size one = true
mon warn on pool no redundancy = false
mon data avail warn = 1
mon data avail crit = 0
run dir = {directory}/run
pid file = {directory}/run/$type.$id.pid
admin socket = {directory}/run/$name.$pid.asok
log file = {directory}/log/$name.log
keyring = {directory}/keyring
[client.rgw]
# Without tcp_nodelay every request waits for 40 ms.
rgw frontends = beast endpoint={HOST}:{gateway} tcp_nodelay=1
rgw data = {directory}/rgw
rgw enable usage log = false
rgw gc obj min wait = 5
rgw relaxed s3 bucket names = true
"""
