"""How a trial hears that it is to leave with a checkpoint: from its driver, or from its machine.

The driver's wish lies in the key-value store of Ray's head, which every process of the cluster
reaches at once and without a process of its own. That a machine is going to be taken away is told
by Ray, too.
"""

import uuid
from collections.abc import Iterable

from ray._private.state import state as _cluster
from ray.exceptions import RayError
from ray.experimental.internal_kv import _internal_kv_del as _delete
from ray.experimental.internal_kv import _internal_kv_exists as _exists
from ray.experimental.internal_kv import _internal_kv_put as _put

import ray
from raykd.runs.stop import Leave

_NAMESPACE = "raykd"


class PreemptedError(Exception):
    """The machine of a trial is being taken away; the trial has left, with a checkpoint."""


class Wishes:
    """Which trials the driver wants to leave: one start of a sweep has one."""

    def __init__(self) -> None:
        self._token = uuid.uuid4().hex
        self._told: set[str] = set()

    def key(self, run_id: str) -> str:
        """Return where a trial looks for the wish that it leaves."""
        return f"leave-{self._token}-{run_id}"

    def tell(self, run_ids: Iterable[str]) -> None:
        """Ask trials to leave, those too that only wait to begin."""
        for run_id in set(run_ids) - self._told:
            _put(self.key(run_id), b"", namespace=_NAMESPACE)
            self._told.add(run_id)

    def forget(self) -> None:
        """Remove every wish: the cluster may outlive the sweep."""
        for run_id in self._told:
            _delete(self.key(run_id), namespace=_NAMESPACE)
        self._told.clear()


def asked_to_leave(key: str) -> Leave:
    """Tell whether the trial of this process is to leave, and why."""
    try:
        if _exists(key, namespace=_NAMESPACE):
            return Leave.STOPPED
        draining = _cluster.get_draining_nodes()
    except RayError:
        # Without its head, Ray ends this process by itself.
        return Leave.NO
    is_draining = ray.get_runtime_context().get_node_id() in draining
    return Leave.PREEMPTED if is_draining else Leave.NO
