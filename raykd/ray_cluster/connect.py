"""Ray for a run: a quiet one on this machine, or the cluster at an address."""

import fcntl
import logging
import os
import signal
import socket
import struct
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from raykd.config.schema.train import ClusterConfig
from raykd.errors import ClusterError
from raykd.machine.sockets import place_for_sockets

logger = logging.getLogger(__name__)

LOCAL = "local"

_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # The controller polls for reports and for the end of the workers this often: 2 s by default.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    # A process more for each attempt: the workers themselves look whether a machine goes.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    # The shutdown of the process group, which waits for a worker that hangs: 30 s by default.
    "TORCH_PROCESS_GROUP_SHUTDOWN_TIMEOUT_S": "5",
    # Otherwise a warning on what it does about GPUs where there are none.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # raykd keeps its own records of the trials of a sweep, and handles interrupts itself.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    # Runs handed out that may be starting at the same time: the study bounds them itself.
    "TUNE_MAX_PENDING_TRIALS_PG": "1000",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    # Else it prints a frame of its own.
    "RAY_AIR_NEW_OUTPUT": "0",
}
_CLUSTER = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""The name is misleading: on Linux too 0 keeps the node on 127.0.0.1."""

_GLOO_INTERFACE = "GLOO_SOCKET_IFNAME"
"""Else the workers' connections come in wherever the name of the machine leads."""

_LOCAL_ENVIRONMENT = {
    _CLUSTER: "0",
    # Workers are what this Ray is for, and train as a run in this process does. By default they
    # stand back behind all else on the machine.
    "RAY_worker_niceness": "0",
    _GLOO_INTERFACE: next(
        (name for _, name in socket.if_nameindex() if name.startswith("lo")), ""
    ),
}
_OBJECT_STORE_BYTES = 200_000_000
_LOOPBACK = "127.0.0.1"
_ADDRESS_OF_INTERFACE = 0x8915
"""SIOCGIFADDR of Linux."""

_SOCKET_BYTES = len("/ray/session_2026-01-31_10-20-30_123456_4194304/sockets/plasma_store.1")
"""Bytes of the longest path of a socket of Ray, below the directory for temporary files."""

_PORT = "RAY_GCS_SERVER_PORT"
"""Where Ray reads the port of its head from; no argument of ray.init has it."""

_STARTS = 4
"""Times that a local Ray is tried to start."""


@contextmanager
def ray_cluster(address: str, *, num_cpus: float, num_gpus: float) -> Iterator[None]:
    """Connect to Ray while the block runs; a connection from before is used and kept.

    Args:
        address: ``local`` for a new Ray on this machine and loopback alone, or the address of
            a cluster.
        num_cpus: CPU cores that a local Ray may hand out.
        num_gpus: GPUs that a local Ray may hand out.

    Raises:
        ClusterError: A local Ray does not start.
    """
    # Ray reads these from the environment only, and some of them when it is imported.
    wanted = _ENVIRONMENT | (_LOCAL_ENVIRONMENT if address == LOCAL else {})
    os.environ.update({k: v for k, v in wanted.items() if k not in os.environ})
    import ray  # noqa: PLC0415

    # As in a job or a trial: whoever connected decides when it ends.
    if ray.is_initialized():
        yield
        return
    from raykd.ray_cluster.private import worker  # noqa: PLC0415  as above

    # Else it prints what nodes complain of, pages of state of a lost one among it, even where it
    # is told to print no logs.
    worker._worker_logs_enabled = False  # noqa: SLF001
    try:
        with _signals_kept():
            if address == LOCAL:
                _start_surely(num_cpus=num_cpus, num_gpus=num_gpus)
            else:
                ray.init(address=address, log_to_driver=False, logging_level="error")
        yield
    finally:
        ray.shutdown()
        worker._worker_logs_enabled = True  # noqa: SLF001


def have_gloo_listen_at(address: str) -> None:
    """Have the workers' connections come in where others reach this node, if no one has said.

    The name of a machine often leads to its own loopback, or nowhere.
    """
    if _GLOO_INTERFACE not in os.environ and (name := _interface_of(address)) is not None:
        os.environ[_GLOO_INTERFACE] = name


def _interface_of(address: str) -> str | None:
    """Return the interface whose first address this is; None for IPv6, and beyond Linux."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode())
            # An interface may have no address.
            with suppress(OSError):
                answer = fcntl.ioctl(any_socket, _ADDRESS_OF_INTERFACE, request)
                # struct ifreq: 16 bytes of name, then sockaddr_in with the address at its byte 4.
                if socket.inet_ntoa(answer[20:24]) == address:
                    return name
    return None


@contextmanager
def ray_of_workers(address: str, cluster: ClusterConfig) -> Iterator[None]:
    """Connect to Ray while the block runs; a local one has what the workers of a run need."""
    with ray_cluster(
        address,
        num_cpus=cluster.num_workers * cluster.cpus_per_worker,
        num_gpus=cluster.num_workers * cluster.gpus_per_worker,
    ):
        yield


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Put the program's own handlers of signals back: Ray installs one for SIGTERM."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    # Python sets handlers in the main thread only, and so does Ray.
    if threading.current_thread() is threading.main_thread():
        for number, handler in handlers.items():
            if callable(handler):
                signal.signal(number, handler)


def _start_surely(*, num_cpus: float, num_gpus: float) -> None:
    """Start a Ray of this process's own, once more where its node does not come up.

    A node ends where its agents need more than 15 s to start, as on a machine that does much else
    (ray#65983, no setting changes that), and Ray then waits a minute for it. What is left of such
    a start ends with this process.
    """
    for number in range(1, _STARTS + 1):
        try:
            _start_here(num_cpus=num_cpus, num_gpus=num_gpus)
        except Exception as error:
            # Ray has no class for it.
            if "timed out during startup" not in str(error):
                raise
            if number == _STARTS:
                message = (
                    f"Ray did not start on this machine in {_STARTS} attempts: {error} Run on a "
                    "machine that is less busy, or name a cluster by --address."
                )
                raise ClusterError(message) from error
            logger.warning("Ray did not start on this machine: it is started again")
        else:
            return


def _start_here(*, num_cpus: float, num_gpus: float) -> None:
    """Start a Ray of this process's own, whose processes know it from any other on the machine."""
    import ray  # noqa: PLC0415  its environment is set above
    from raykd.ray_cluster.private import ray_constants  # noqa: PLC0415  as above

    # Read when Ray is imported, which others may have done before: Ray would listen everywhere.
    ray_constants.ENABLE_RAY_CLUSTER = os.environ[_CLUSTER] != "0"
    port = _free_port()
    temporary = tempfile.gettempdir()
    place = place_for_sockets(os.environ.get("RAY_TMPDIR") or temporary, room=_SOCKET_BYTES)
    # Ray Train's cleaner looks for the controller in whatever Ray it finds. In another one there
    # is none, and it takes away the places of workers that live.
    of_workers = {"RAY_ADDRESS": f"{_LOOPBACK}:{port}", "TMPDIR": temporary}
    # "local" is said: without an address Ray joins whatever cluster /tmp/ray of the machine names.
    with _environment({_PORT: str(port), "TMPDIR": place}):
        ray.init(
            address=LOCAL,
            _temp_dir=str(Path(place, "ray")),
            runtime_env={"env_vars": of_workers},
            num_cpus=max(1, round(num_cpus)),
            num_gpus=max(0, round(num_gpus)),
            # Without it Ray Train cannot clean up after a dead controller: its cleaner (ray#58515)
            # reads the dashboard, and the workers' CPUs would stay reserved for ever.
            include_dashboard=True,
            dashboard_host=_LOOPBACK,
            log_to_driver=False,
            logging_level="error",
            object_store_memory=_OBJECT_STORE_BYTES,
        )


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set what the processes of one Ray start with: those of another need their own."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _free_port() -> int:
    with socket.socket() as listener:
        # Free at this moment: Ray takes it a little later, and fails where another was faster.
        listener.bind((_LOOPBACK, 0))
        port: int = listener.getsockname()[1]
        return port
