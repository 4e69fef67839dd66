"""A Ray of several nodes on this machine, and what is done to it while a run goes on."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from ray._private.state import available_resources_per_node
from ray._raylet import GcsClient  # type: ignore[attr-defined]  # compiled
from ray.cluster_utils import Cluster
from ray.core.generated.autoscaler_pb2 import DrainNodeReason
from raykd.config.schema.run import RunConfig
from raykd.ray_cluster import connect
from raykd.runs.metrics import Record
from raykd.runs.result import RunResult
from raykd.train.run import Listener, train_run

import ray
from tests.ray.support.running import has_checkpoint, processes_called


@contextmanager
def ray_of_nodes(*, num_nodes: int) -> Iterator[Cluster]:
    """Start a Ray whose head has no CPUs, and nodes of one CPU; connect to it."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, value in (connect._ENVIRONMENT | connect._LOCAL_ENVIRONMENT).items():
            monkeypatch.setenv(name, value)
        port = _free_port()
        monkeypatch.setenv("RAY_GCS_SERVER_PORT", str(port))
        cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 0,
                "include_dashboard": True,
                "dashboard_port": _free_port(),
            },
            shutdown_at_exit=False,
        )
        try:
            ray.init(
                address=cluster.address,
                runtime_env={"env_vars": {"RAY_ADDRESS": cluster.address}},
                log_to_driver=False,
                logging_level="error",
            )
            for _ in range(num_nodes):
                add_node(cluster)
            yield cluster
        finally:
            ray.shutdown()
            with _reaped(cluster.list_all_nodes()):
                cluster.shutdown()


@contextmanager
def _reaped(nodes: Iterable[Any]) -> Iterator[None]:
    """Wait for the processes of nodes that the block ends: Ray kills them and looks away."""
    infos = [info for node in nodes for found in node.all_processes.values() for info in found]
    yield
    for info in infos:
        info.process.wait()


def add_node(cluster: Cluster) -> None:
    """Add a node of one CPU."""
    cluster.add_node(num_cpus=1)


def remove_node(cluster: Cluster) -> None:
    """Kill a node that has CPUs, with all that runs there."""
    node = min(cluster.worker_nodes, key=lambda node: str(node.unique_id))
    with _reaped([node]):
        cluster.remove_node(node, allow_graceful=False)


def drain(cluster: Cluster) -> str:
    """Announce that the machine of a worker is taken away in two minutes; return its node."""
    free = available_resources_per_node()
    node = next(node for node in worker_nodes() if free[node].get("CPU", 0.0) < 1)
    deadline_ms = int(time.time() * 1000) + 120_000
    reason = DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
    accepted, why = GcsClient(address=cluster.address).drain_node(
        node, reason, "a spot machine", deadline_ms
    )
    assert accepted, why
    return str(node)


def worker_nodes() -> list[str]:
    """Return the ids of the nodes that have CPUs and live."""
    alive = [node for node in ray.nodes() if node["Alive"]]
    return [node["NodeID"] for node in alive if node["Resources"].get("CPU")]


def send_signal(title: str, number: int) -> None:
    """Send a signal to one process of this one's Ray."""
    os.kill(processes_called(title)[0].pid, number)


def kill(title: str) -> Callable[[], None]:
    """Return what kills one process of this one's Ray."""
    return lambda: send_signal(title, signal.SIGKILL)


@dataclass(kw_only=True)
class Faults:
    """Does something to a run, each once: when a step is reported, when a message comes."""

    at_step: dict[int, Callable[[], None]] = field(default_factory=dict)
    """At this step or, where it needs that first, once the run has a checkpoint."""

    needs_checkpoint_of: RunConfig | None = None
    at_message: dict[str, Callable[[], None]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def on_record(self, record: Record) -> None:
        with self._lock:
            if self.needs_checkpoint_of is not None and not has_checkpoint(
                self.needs_checkpoint_of
            ):
                return
            for step in sorted(step for step in self.at_step if step <= record["step"]):
                self.at_step.pop(step)()

    def on_message(self, text: str) -> None:
        self.messages.append(text)
        for part in [part for part in self.at_message if part in text]:
            self.at_message.pop(part)()


def train(config: RunConfig, faults: Faults) -> RunResult:
    """Train under the Ray of this process while something happens to it."""
    listener = Listener(
        on_record=faults.on_record, on_message=faults.on_message, should_stop=lambda: False
    )
    return train_run(config, fresh=False, address="local", listener=listener)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
