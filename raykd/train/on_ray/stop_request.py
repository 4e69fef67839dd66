"""How work on a Ray cluster is asked to stop with a checkpoint: through the head of the cluster.

This is the one channel from a driver to what it has started. The driver puts a request into the
head's key-value store, under a key that it gave the work; whoever does the work looks there, and
whether the head is draining its node. So it does not matter why a run is to stop (the user, the
scheduler of a study, places for more workers, a machine that is taken away), where it stores its
files, or on which machine it runs: every process of the cluster reaches the head at once. A
driver that dies asks for nothing: Ray ends what it has started.

Two ways are left that no store can take the place of. What asks the driver is a signal of the
operating system: from a terminal, from Slurm, or from Ray's job server for ``ray job stop``. And
the process in which a trial trains its runs is none of Ray's: the trial, which is, passes the
requests on (``raykd.tune.child``).
"""

import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from ray.exceptions import RayError

import ray
from raykd.ray_cluster.private import kv_delete, kv_get, kv_put, state
from raykd.runs.stop import StopReason

_NAMESPACE = "raykd/stop"
_POLL_SECONDS = 0.5


class StopRequests:
    """Which runs the driver of a sweep has asked to stop: one start of a sweep has one."""

    def __init__(self) -> None:
        self._token = uuid.uuid4().hex
        self._asked: set[str] = set()

    def key(self, run_id: str) -> str:
        """Return where a run looks for a request."""
        return f"{self._token}-{run_id}"

    def add(self, run_ids: Iterable[str]) -> None:
        """Ask runs to stop, those too that only wait to begin."""
        for run_id in set(run_ids) - self._asked:
            request_stop(self.key(run_id))
            self._asked.add(run_id)

    def withdraw(self) -> None:
        """Remove every request: the cluster may outlive the sweep."""
        for run_id in self._asked:
            withdraw_stop(self.key(run_id))


def request_stop(key: str, reason: StopReason = StopReason.STOPPED) -> None:
    """Ask who looks at a key to stop."""
    kv_put(key, reason.name, namespace=_NAMESPACE)


def withdraw_stop(key: str) -> None:
    """Remove what was asked, if anything."""
    kv_delete(key, namespace=_NAMESPACE)


def stop_requested(key: str) -> StopReason:
    """Return why this process is to stop: what is asked at its key, or that its node goes."""
    try:
        request = kv_get(key, namespace=_NAMESPACE)
        draining = state.get_draining_nodes()
    except RayError:
        # Without its head, Ray ends this process by itself.
        return StopReason.NONE
    if request is not None:
        return StopReason[request.decode()]
    # After the request, which counts for more: who is preempted is started again elsewhere.
    is_draining = ray.get_runtime_context().get_node_id() in draining
    return StopReason.PREEMPTED if is_draining else StopReason.NONE


@contextmanager
def watched_requests(key: str) -> Iterator[Callable[[], StopReason]]:
    """Yield what tells why this process is to stop; who asks does not wait for the head."""
    reason = StopReason.NONE
    ended = threading.Event()

    def follow() -> None:
        nonlocal reason
        while (reason := stop_requested(key)) is StopReason.NONE:
            if ended.wait(_POLL_SECONDS):
                return

    thread = threading.Thread(target=follow, name="raykd-stop", daemon=True)
    thread.start()
    try:
        yield lambda: reason
    finally:
        ended.set()
        thread.join()
