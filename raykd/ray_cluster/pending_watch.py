"""What a Ray cluster says of work that waits for places: the facts for ``pending``."""

import time
from collections.abc import Sequence

from ray.exceptions import RayError

import ray
from raykd.config.schema.sweep import NodeConfig
from raykd.ray_cluster.autoscaler import activity, is_head, startable_nodes
from raykd.ray_cluster.pending import (
    QUIET_SECONDS,
    Cluster,
    Machine,
    Wait,
    WaitClock,
    demand_of,
    waiting_reason,
)
from raykd.ray_cluster.placement import places_of_this_job
from raykd.ray_cluster.private import available_resources_per_node

_LOOK_SECONDS = 5.0


class PlaceWatch:
    """Looks now and then whether this program waits for placement, and why."""

    def __init__(self) -> None:
        self._startable = startable_nodes()
        self._clock = WaitClock()
        self._next_look = 0.0
        self._wait: Wait | None = None

    def look(self, *, most: int | None = None) -> Wait | None:
        """Return the wait as of the last look; None where nothing waits for long.

        Args:
            most: Groups of places that are to be held at the same time: what is requested beyond
                is a queue. None is all.
        """
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + _LOOK_SECONDS
            try:
                self._wait = self._present_wait(most)
            except RayError:
                # Without its head, Ray ends by itself.
                self._wait = None
        return self._wait

    def _present_wait(self, most: int | None) -> Wait | None:
        places = places_of_this_job()
        wanted = len(places.pending) if most is None else max(0, most - places.num_granted)
        seconds = self._clock.seconds(places.pending if wanted else ())
        demand = demand_of(list(places.pending.values())[:wanted])
        if demand is None or seconds < QUIET_SECONDS:
            return None
        return Wait(seconds=seconds, reason=waiting_reason(demand, _cluster(self._startable)))


def _cluster(startable: Sequence[NodeConfig] | None) -> Cluster:
    """Return what the cluster has and what its autoscaler is at."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    free = available_resources_per_node()
    now = activity()
    started = sum(not is_head(node) for node in nodes)
    most = None if startable is None else sum(node.count for node in startable)
    return Cluster(
        machines=[
            Machine(total=node["Resources"], free=free.get(node["NodeID"], {})) for node in nodes
        ],
        # Ray counts a machine that has just come as one that is starting, too.
        num_starting=now.num_starting if most is None else min(now.num_starting, most - started),
        num_started=started,
        most=most,
        failure=now.failure,
    )
