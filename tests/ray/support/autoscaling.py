"""A Ray on this machine whose autoscaler starts and ends nodes: Ray's own, over fake machines."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.ray.support.late_nodes import PERMIT, LateNodes
from tests.ray.support.own_ray import OwnRay, own_ray

_HEAD_ID = "f" * 51 + "00000"
"""What Ray's fake machines call the head."""

_NODE_ID = "--node_id="
_IDLE_MINUTES = 0.1
_OBJECT_STORE_BYTES = 100_000_000
_LISTS = ("initialization_commands", "setup_commands", "cluster_synced_files", "rsync_exclude")
_COMMANDS = ("head_setup_commands", "worker_setup_commands", "rsync_filter")
_STARTS = ("head_start_ray_commands", "worker_start_ray_commands")


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """How a cluster stood, seconds after it was first looked at."""

    seconds: float
    nodes: tuple[str, ...]
    """Ids of those that have CPUs."""

    running: int
    """Trials that have a place."""

    pending: int
    """Trials that wait for one."""


class AutoscaledRay:
    """A head without CPUs, and an autoscaler that may start nodes of one CPU: later, if at all."""

    def __init__(self, ray: OwnRay, *, max_nodes: int) -> None:
        self._ray = ray
        self._home = ray.directory / "home"
        self._moments = ray.directory / "moments"
        # Where the cluster launcher leaves it on the head.
        config = self._home / "ray_bootstrap_config.yaml"
        self._home.mkdir()
        self._permit = ray.directory / "permit"
        launched = _launched(ray.address, max_nodes=max_nodes, permit=self._permit)
        config.write_text(json.dumps(launched))
        ray.start_head(
            f"--object-store-memory={_OBJECT_STORE_BYTES}",
            f"--autoscaling-config={config}",
            num_cpus=0,
            environment={
                "AUTOSCALER_UPDATE_INTERVAL_S": "1",
                "RAY_FAKE_CLUSTER": "1",
                "RAY_enable_autoscaler_v2": "1",
                "RAY_CLOUD_INSTANCE_ID": _HEAD_ID,
                "RAY_OVERRIDE_NODE_ID_FOR_TESTING": _HEAD_ID,
                # For what starts its nodes.
                "PYTHONPATH": str(Path(__file__).parents[3]),
            },
        )
        observer = Path(__file__).with_name("observer.py")
        ray.start(sys.executable, str(observer), ray.address, str(self._moments))
        ray.wait_until(lambda: self._moments.exists() and bool(self.moments()), "the observer")

    @property
    def address(self) -> str:
        """Of its head."""
        return self._ray.address

    @property
    def environment(self) -> dict[str, str]:
        """What a program on the head has that connects to this Ray."""
        return self._ray.environment | {"HOME": str(self._home)}

    def moments(self) -> list[Moment]:
        """Return how the cluster stood at every change so far."""
        # The last line may be half written.
        lines = self._moments.read_text().splitlines(keepends=True)
        found = [json.loads(line) for line in lines if line.endswith("\n")]
        return [Moment(**each | {"nodes": tuple(each["nodes"])}) for each in found]

    def let_nodes_come(self) -> None:
        """Have the autoscaler start what it has been asked for, and will be."""
        self._permit.touch()

    def kill_node(self, process_id: int) -> str:
        """Kill the node that a process runs on, and all that runs there; return its id."""
        process = psutil.Process(process_id)
        # Else what it does may be done before the node is found.
        process.suspend()
        raylet = next(each for each in process.parents() if each.name() == "raylet")
        named = next(part for part in raylet.cmdline() if part.startswith(_NODE_ID))
        for each in (raylet, *raylet.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                each.kill()
        return str(named.removeprefix(_NODE_ID))

    def wait_until_empty(self) -> None:
        """Wait until the autoscaler has ended all nodes."""
        self._ray.wait_until(lambda: not self.moments()[-1].nodes, "the end of idle nodes")


@contextmanager
def autoscaled_ray(*, max_nodes: int) -> Iterator[AutoscaledRay]:
    """Give a Ray that starts with its head alone."""
    with own_ray() as ray:
        yield AutoscaledRay(ray, max_nodes=max_nodes)


def _launched(address: str, *, max_nodes: int, permit: Path) -> dict[str, Any]:
    """Return a file of the cluster launcher, whole: Ray's own for fake machines is not shipped."""
    worker = {"CPU": 1, "object_store_memory": _OBJECT_STORE_BYTES}
    return {
        "cluster_name": "tests",
        "max_workers": max_nodes,
        "idle_timeout_minutes": _IDLE_MINUTES,
        "upscaling_speed": 1.0,
        "head_node_type": "ray.head.default",
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "worker": {
                "resources": worker,
                "node_config": {},
                "min_workers": 0,
                "max_workers": max_nodes,
            },
        },
        "provider": {
            "type": "external",
            "module": f"{LateNodes.__module__}.{LateNodes.__name__}",
            PERMIT: str(permit),
            "gcs_address": address,
            "head_node_id": _HEAD_ID,
            "launch_multiple": True,
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        },
        "auth": {},
        "docker": {},
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
    } | {name: [] for name in (*_LISTS, *_COMMANDS, *_STARTS)}
