"""What machines hold: how many runs of a kind fit at the same time, and why one never does.

A run asks for bundles, one for each worker. A bundle lies on one machine; those of one run may
lie on several. A bundle with less than one GPU shares it with others. Pure arithmetic, but for
``this_machine``.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from raykd.config.schema.run import RunConfig
from raykd.config.schema.sweep import NodeConfig, SweepConfig
from raykd.machine.cores import usable_cores, usable_memory

Resource = Literal["CPUs", "GPUs", "memory"]

_NEARLY = 1e-9
"""So that ten times 0.1 is 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Machines:
    """The machines that runs are counted on."""

    nodes: tuple[NodeConfig, ...]
    origin: str
    """Where they are known from."""

    def __str__(self) -> str:
        """Return them in words."""
        nodes = "; ".join(
            f"{node.count} x {node.cpus:g} CPU, {node.gpus:g} GPU"
            + (f", {node.memory_gb:.1f} GB" if node.memory_gb is not None else "")
            for node in self.nodes
        )
        return f"{nodes or 'none'}: {self.origin}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """What a run asks of machines while it goes on."""

    num_workers: int
    cpus_per_worker: float
    gpus_per_worker: float
    memory_bytes: int | None
    """Estimate for one worker, of the GPU where it has one; None where it is not known."""

    @property
    def num_bundles(self) -> int:
        """Places on machines: a run without workers is trained where its trial lies."""
        return max(self.num_workers, 1)

    def __str__(self) -> str:
        """Return the bundles in words."""
        each = f"{{CPU: {self.cpus_per_worker:g}, GPU: {self.gpus_per_worker:g}}}"
        return f"{self.num_bundles} worker(s) of {each} each"


def need_of(config: RunConfig, memory_bytes: int | None) -> Need:
    """Return what a run asks for, with the estimate of its memory."""
    cluster = config.cluster
    return Need(
        num_workers=cluster.num_workers,
        cpus_per_worker=cluster.cpus_per_worker,
        gpus_per_worker=cluster.gpus_per_worker,
        memory_bytes=memory_bytes,
    )


def machines_of(sweep: SweepConfig, there: Machines | None) -> Machines:
    """Return what a sweep is counted on: what it declares, else what is there, else this machine.

    Args:
        sweep: The sweep.
        there: What the cluster has or starts; None without a cluster.
    """
    if sweep.nodes:
        return Machines(nodes=tuple(sweep.nodes.values()), origin="declared in nodes")
    return there or Machines(nodes=(this_machine(),), origin="this one")


def this_machine() -> NodeConfig:
    """Return what this process may use of this machine."""
    gpus = torch.cuda.device_count()
    return NodeConfig(
        cpus=float(usable_cores()),
        gpus=float(gpus),
        # What a container or job may use, which may be less than the machine has.
        memory_gb=usable_memory() / 1e9,
        gpu_memory_gb=torch.cuda.get_device_properties(0).total_memory / 1e9 if gpus else None,
    )


def held_at_once(need: Need, nodes: Iterable[NodeConfig]) -> int:
    """Return how many runs with a need fit on machines at the same time."""
    # Bundles of one run may be spread over machines (Ray's placement strategy is PACK, not
    # STRICT_PACK), so they are counted over all of them.
    bundles = sum(node.count * min(_bundles(need, node).values()) for node in nodes)
    return int(bundles // need.num_bundles)


def scarcest(need: Need, nodes: Iterable[NodeConfig]) -> Resource:
    """Return what the machines run out of first."""
    held: dict[Resource, float] = {"CPUs": 0, "GPUs": 0, "memory": 0}
    for node in nodes:
        for resource, number in _bundles(need, node).items():
            held[resource] += node.count * number
    return min(held, key=lambda resource: held[resource])


def idle_gpus(needs: Iterable[Need], nodes: Iterable[NodeConfig], *, at_once: int) -> str | None:
    """Return which GPUs of machines no run uses, and what to do; None where all have work.

    Args:
        needs: What the runs ask for.
        nodes: The machines.
        at_once: Runs at the same time.
    """
    most = max((need.gpus_per_worker * need.num_bundles for need in needs), default=0.0)
    num_gpus = sum(node.count * node.gpus for node in nodes)
    num_idle = _whole(num_gpus - at_once * most)
    if num_idle < 1 or not at_once:
        # What never fits is a problem, and told as one.
        return None
    if most == 0:
        return (
            f"{num_idle} GPU(s) stay idle: cluster.gpus_per_worker is 0; set "
            "cluster.gpus_per_worker=1"
        )
    return (
        f"{num_idle} of {num_gpus:g} GPUs stay idle: {at_once} trial(s) at once take {most:g} each"
    )


def room_problem(need: Need, nodes: Sequence[NodeConfig]) -> str | None:
    """Return why a run with a need can never start on machines; None where it can."""
    # Ray refuses such a number: above 1, only full GPUs are given out.
    if need.gpus_per_worker > 1 and need.gpus_per_worker % 1:
        value = need.gpus_per_worker
        return f"cluster.gpus_per_worker must be whole or below 1, got {value:g}"
    if held_at_once(need, nodes):
        return None
    # Without the memory first: a run that lacks CPUs should not be told to shrink its batch.
    bare = Need(
        num_workers=need.num_workers,
        cpus_per_worker=need.cpus_per_worker,
        gpus_per_worker=need.gpus_per_worker,
        memory_bytes=None,
    )
    if not nodes:
        return f"{need} do not fit: no machine with CPUs is there; {_declaration(need)}"
    if not any(min(_bundles(bare, node).values()) for node in nodes):
        return (
            f"{need} do not fit: the largest machine has {_largest(nodes)}; lower "
            f"cluster.cpus_per_worker or gpus_per_worker, or {_declaration(need)}"
        )
    if not held_at_once(bare, nodes):
        places = sum(node.count * min(_bundles(bare, node).values()) for node in nodes)
        return (
            f"{need} do not fit: there is room for {places:g}, and the largest machine has "
            f"{_largest(nodes)}; lower cluster.num_workers, or {_declaration(need)}"
        )
    return _memory_problem(need, nodes)


def _bundles(need: Need, node: NodeConfig) -> dict[Resource, float]:
    """Return how many bundles each resource of one machine holds; infinite where it asks none."""
    gpus = math.inf
    if need.gpus_per_worker > 0:
        gpus = _whole(node.gpus) * _workers_per_gpu(need)
    return {
        "CPUs": _whole(node.cpus / need.cpus_per_worker),
        "GPUs": gpus if need.gpus_per_worker <= 1 else _whole(node.gpus / need.gpus_per_worker),
        "memory": _in_memory(need, node),
    }


def _in_memory(need: Need, node: NodeConfig) -> float:
    """Return how many bundles the memory of a machine holds, or that of its GPUs."""
    on_gpu = need.gpus_per_worker > 0
    gigabytes = node.gpu_memory_gb if on_gpu else node.memory_gb
    if need.memory_bytes is None or gigabytes is None:
        return math.inf
    at_once = _whole(gigabytes * 1e9 / need.memory_bytes)
    if not on_gpu:
        return at_once
    # A worker computes on one GPU, however many it holds.
    gpus = _whole(node.gpus / max(need.gpus_per_worker, 1))
    return gpus * min(at_once, _workers_per_gpu(need))


def _workers_per_gpu(need: Need) -> int:
    # Ray gives out fractions of one GPU at a time: 0.4 fits twice on each, and what is left of two
    # GPUs does not make a third.
    return max(1, _whole(1 / need.gpus_per_worker))


def _whole(number: float) -> int:
    return math.floor(number + _NEARLY)


def _largest(nodes: Iterable[NodeConfig]) -> str:
    node = max(nodes, key=lambda node: (node.gpus, node.cpus))
    return f"{{CPU: {node.cpus:g}, GPU: {node.gpus:g}}}"


def _memory_problem(need: Need, nodes: Iterable[NodeConfig]) -> str:
    on_gpu = need.gpus_per_worker > 0
    sizes = [(node.gpu_memory_gb if on_gpu else node.memory_gb) or 0 for node in nodes]
    whose = "GPU" if on_gpu else "machine"
    return (
        f"{need.num_bundles} worker(s) need about {(need.memory_bytes or 0) / 1e9:.2f} GB each, "
        f"but the largest {whose} has {max(sizes):.2f} GB; lower train.micro_batch_size, or "
        f"{_declaration(need)}"
    )


def _declaration(need: Need) -> str:
    """Say what to write into the sweep file where an autoscaler would start what is missing."""
    gigabytes = None if need.memory_bytes is None else math.ceil(need.memory_bytes / 1e9)
    has_gpu = need.gpus_per_worker > 0
    values = {
        "count": need.num_bundles,
        "cpus": need.cpus_per_worker,
        "gpus": math.ceil(need.gpus_per_worker) or None,
        "gpu_memory_gb" if has_gpu else "memory_gb": gigabytes,
    }
    said = ", ".join(f"{key}: {value:g}" for key, value in values.items() if value is not None)
    return f"declare what an autoscaler may start: nodes: {{worker: {{{said}}}}}"
