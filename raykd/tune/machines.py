"""The machines of a Ray cluster that a sweep may count on."""

from collections.abc import Iterator
from contextlib import contextmanager

from raykd.ray_cluster.connect import LOCAL, ray_cluster
from raykd.sweep.plan.capacity import Machines


@contextmanager
def reachable_machines(address: str) -> Iterator[Machines | None]:
    """Stay connected to a cluster and yield its machines; None for a Ray that is still to start.

    Those that its autoscaler may start count as if they were there, where it is known.

    Args:
        address: ``local``, or the address of a Ray cluster.
    """
    if address == LOCAL:
        yield None
        return
    with ray_cluster(address, num_cpus=0, num_gpus=0):
        yield _machines()


def _machines() -> Machines:
    # Imported here: Ray's environment is set above.
    import ray  # noqa: PLC0415
    from raykd.ray_cluster.autoscaler import is_head, node_of, startable_nodes  # noqa: PLC0415

    alive = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    startable = startable_nodes()
    if startable is None:
        nodes = tuple(node_of(node["Resources"]) for node in alive)
        return Machines(nodes=nodes, origin="what the cluster has now")
    # Workers that are alive are among those that may start, and would count twice.
    heads = [node_of(node["Resources"]) for node in alive if is_head(node)]
    return Machines(nodes=(*heads, *startable), origin="what the autoscaler may start")
