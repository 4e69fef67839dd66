"""The autoscaler of a Ray cluster: which machines it may start, and what it is at.

Ray says nowhere what its autoscaler may start. The cluster launcher puts its file on the head,
where Ray itself looks for it too: a driver on the head reads it there. Elsewhere, and on
Kubernetes, it is not known.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ray.autoscaler.v2.schema import ClusterStatus
from ray.autoscaler.v2.sdk import get_cluster_status
from ray.autoscaler.v2.utils import is_autoscaler_v2

import ray
from raykd.config.schema.sweep import NodeConfig
from raykd.config.yaml_text import read_yaml
from raykd.ray_cluster.private import kv_get, worker

_FILE = "~/ray_bootstrap_config.yaml"
_HEAD = "node:__internal_head__"
"""Resource that the head alone has."""

_STATUS = "__autoscaling_status"
"""Where the older of Ray's autoscalers says what it is at."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Activity:
    """What an autoscaler is at."""

    num_starting: int = 0
    """Machines that it has requested and that are not there yet."""

    failure: str | None = None
    """Why it could not start the last one that it tried to."""


def is_head(node: Mapping[str, Mapping[str, float]]) -> bool:
    """Tell whether a node, as Ray lists them, is the head."""
    return _HEAD in node["Resources"]


def startable_nodes() -> list[NodeConfig] | None:
    """Return the machines that the autoscaler starts at most, beside the head.

    Returns:
        None where that is not known: this driver is not on the head of a launched cluster.
    """
    here = ray.get_runtime_context().get_node_id()
    path = Path(_FILE).expanduser()
    # A Ray that this process has started has its head here, too: the file is of another cluster.
    is_own = worker.global_worker.node.is_head()
    if is_own or not any(is_head(node) for node in ray.nodes() if node["NodeID"] == here):
        return None
    return nodes_of_launcher(read_yaml(path.read_text("utf-8"))) if path.exists() else None


def nodes_of_launcher(config: Mapping[str, Any]) -> list[NodeConfig]:
    """Return the machines that a file of the cluster launcher allows, beside the head.

    Where its kinds allow more machines together than ``max_workers``, the largest count first.
    Kinds whose CPUs it does not say, and those without any, are left out.
    """
    left = int(config.get("max_workers", 0))
    kinds = config.get("available_node_types", {}).items()
    nodes = []
    for node in sorted(_workers(kinds, config), key=lambda n: (n.gpus, n.cpus), reverse=True):
        count = min(node.count, left)
        left -= count
        if count:
            nodes.append(replace(node, count=count))
    return nodes


def activity() -> Activity:
    """Return what the autoscaler of the cluster is at; nothing where there is none."""
    if is_autoscaler_v2():
        return _activity(get_cluster_status(ray.get_runtime_context().gcs_address))
    # Version 1 has no call for it: it publishes JSON in Ray's key-value store.
    status = json.loads(kv_get(_STATUS) or b"{}")
    report = status.get("autoscaler_report") or {}
    launching = sum(report.get("pending_launches", {}).values())
    return Activity(num_starting=launching + len(report.get("pending_nodes", [])))


def _activity(status: ClusterStatus) -> Activity:
    launching = sum(launch.count for launch in status.pending_launches)
    failed = max(status.failed_launches, key=lambda launch: launch.request_ts_s, default=None)
    return Activity(
        num_starting=launching + len(status.pending_nodes),
        failure=None if failed is None else f"{failed.ray_node_type_name}: {failed.details}",
    )


def _workers(
    kinds: Iterable[tuple[str, Mapping[str, Any]]], config: Mapping[str, Any]
) -> Iterable[NodeConfig]:
    """Yield the kinds of machines that are no head, each with as many as its own limit allows."""
    for name, kind in kinds:
        resources = kind.get("resources", {})
        count = int(kind.get("max_workers", config.get("max_workers", 0)))
        if name == config.get("head_node_type") or not resources.get("CPU") or not count:
            continue
        yield node_of(resources, count=count)


def node_of(resources: Mapping[str, float], *, count: int = 1) -> NodeConfig:
    """Return machines with resources as Ray counts them."""
    return NodeConfig(
        count=count,
        cpus=float(resources["CPU"]),
        gpus=float(resources.get("GPU", 0.0)),
        memory_gb=resources["memory"] / 1e9 if "memory" in resources else None,
    )
