"""Placement of workers on a Ray cluster, tried out by reserving places for a moment.

A reservation tells the truth where lists of free resources are stale for up to a minute: it is
made by the machines themselves. By it the autoscaler learns what is needed and not there yet.
"""

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ray.util.placement_group import (
    PlacementGroup,
    placement_group,
    placement_group_table,
    remove_placement_group,
)

import ray
from raykd.config.schema.train import ClusterConfig
from raykd.ray_cluster.private import (
    PlacementGroupID,
    actors,
    kv_delete,
    kv_exists,
    kv_put,
    worker,
)

SETTLE_SECONDS = 10.0
"""Given to a cluster to see that machines are gone, or that an earlier attempt's are free."""

_POLL_SECONDS = 0.2
_RESERVED = "raykd-reserved-"
"""Beginning of the names of groups that only try out how many workers can be placed."""

Resources = dict[str, float]


class Reservation:
    """Places for single workers, each held as soon as the cluster grants it."""

    def __init__(self, worker: Resources, *, count: int) -> None:
        # A group each: one group of all would be granted all at once or not at all.
        self._groups: list[PlacementGroup] = [
            placement_group([worker], name=f"{_RESERVED}{uuid.uuid4().hex}") for _ in range(count)
        ]

    @property
    def num_granted(self) -> int:
        """Places that are held."""
        states = [placement_group_table(group)["state"] for group in self._groups]
        return states.count("CREATED")

    def release(self) -> None:
        """Give back all places."""
        for group in self._groups:
            remove_placement_group(group)
        self._groups = []


def worker_resources(cluster: ClusterConfig) -> Resources:
    """Return what one worker needs."""
    gpus = {"GPU": cluster.gpus_per_worker} if cluster.gpus_per_worker else {}
    return {"CPU": cluster.cpus_per_worker} | gpus


def workers_with_room(
    worker: Resources, *, least: int, most: int, should_stop: Callable[[], bool]
) -> int:
    """Return how many workers can be placed, after a short wait for places for all.

    Args:
        worker: What one of them needs.
        least: Returned where fewer can be placed: Ray Train waits for them, and complains.
        most: Workers that are wanted.
        should_stop: Ends the wait.
    """
    if least == most:
        return most
    with _reserved(worker, count=most) as places:
        deadline = time.monotonic() + SETTLE_SECONDS
        while (held := places.num_granted) < most:
            if should_stop() or time.monotonic() > deadline:
                break
            time.sleep(_POLL_SECONDS)
    return max(least, held)


def alive_nodes() -> set[str]:
    """Return the ids of the cluster's nodes."""
    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}


def groups_of_this_job() -> set[str]:
    """Return the placement groups that belong to this program."""
    return set(_groups())


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """Groups of places that this program needs."""

    num_granted: int
    """Groups that it has."""

    pending: dict[str, list[Resources]]
    """Those that it waits for, by name."""


def places_of_this_job() -> Places:
    """Return the groups that this program has and waits for, without those of reservations."""
    groups = {k: v for k, v in _groups().items() if not v["name"].startswith(_RESERVED)}
    pending = {
        name: [dict(place) for place in group["bundles"].values()]
        for name, group in groups.items()
        if group["state"] != "CREATED"
    }
    return Places(num_granted=len(groups) - len(pending), pending=pending)


def _groups() -> dict[str, Any]:
    job = ray.get_runtime_context().get_job_id()
    table = placement_group_table()
    return {
        name: group
        for name, group in table.items()
        # The id of a group ends with that of the job that made it, in hexadecimal digits.
        if name.endswith(job) and group["state"] != "REMOVED"
    }


def remove_groups(names: set[str]) -> None:
    """Give back the places of placement groups."""
    for name in names:
        remove_placement_group(PlacementGroup(PlacementGroupID(bytes.fromhex(name))))


def kill_actors(class_name: str) -> None:
    """Kill the actors of a class that belong to this program."""
    job = ray.JobID.from_hex(ray.get_runtime_context().get_job_id())
    for name, actor in actors(job_id=job).items():
        if actor["ActorClassName"] == class_name and actor["State"] != "DEAD":
            # By its id: the handle is Ray Train's own. True stands for no restart.
            worker.global_worker.core_worker.kill_actor(ray.ActorID.from_hex(name), True)  # noqa: FBT003


def note_placed(attempt: str) -> None:
    """Tell the driver, from a worker, that the workers of an attempt have their places."""
    # In the store of the head, which outlives a worker and needs no actor of its own.
    kv_put(_key(attempt), b"1")


def are_placed(attempt: str) -> bool:
    """Tell whether the workers of an attempt have their places."""
    return bool(kv_exists(_key(attempt)))


def forget_placed(attempt: str) -> None:
    """Remove what the workers of an attempt have told."""
    kv_delete(_key(attempt))


def described_room(worker: Resources, num_workers: int) -> str:
    """Say what is requested and what the cluster has."""
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    machines = ", ".join(_text({name: node.get(name, 0.0) for name in worker}) for node in alive)
    return (
        f"asked for {num_workers} times {_text(worker)}; the cluster has {len(alive)} machines: "
        f"{machines}"
    )


@contextmanager
def _reserved(worker: Resources, *, count: int) -> Iterator[Reservation]:
    reservation = Reservation(worker, count=count)
    try:
        yield reservation
    finally:
        reservation.release()


def _key(attempt: str) -> str:
    return f"raykd/placed/{attempt}"


def _text(resources: Resources) -> str:
    return " and ".join(f"{amount:g} {name}" for name, amount in resources.items())
