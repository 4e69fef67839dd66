"""Why work waits for places on a cluster, in one line. Pure; ``pending_watch`` has the facts."""

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

QUIET_SECONDS = 30.0
"""A wait as short as this is usual and not told: places change hands, processes start."""

Resources = Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """What one machine of the cluster has."""

    total: Resources
    free: Resources


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """What work could be placed on, now or soon."""

    machines: Sequence[Machine]
    num_starting: int = 0
    """Machines that an autoscaler has requested and that are not there yet."""

    num_started: int = 0
    """Machines that it has started and that are there."""

    most: int | None = None
    """Machines that it starts at most; None where that is not known, or there is none."""

    failure: str | None = None
    """Why it could not start the last machine that it tried to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Demand:
    """Things of one kind that have no place."""

    number: int
    noun: str
    """What one is called."""

    each: Resources


@dataclass(frozen=True, kw_only=True, slots=True)
class Wait:
    """That work waits, and why."""

    seconds: float
    reason: str

    def __str__(self) -> str:
        """Return the line."""
        return f"waiting {self.seconds:.0f} s: {self.reason}"


class WaitClock:
    """For how long that which waits for a place has waited, whatever else has got one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: dict[str, float] = {}

    def seconds(self, pending: Collection[str]) -> float:
        """Return the longest wait, 0 where nothing waits.

        Args:
            pending: Names of what waits now.
        """
        # Names that wait no longer are dropped: one that comes back waits anew.
        now = self._clock()
        self._since = {name: self._since.get(name, now) for name in pending}
        return now - min(self._since.values(), default=now)


def demand_of(groups: Sequence[Sequence[Resources]]) -> Demand | None:
    """Return what groups of places need, the most frequent kind; None where there are none.

    Args:
        groups: The places of each: one for a trial, several for the workers of a run.
    """
    if not groups:
        return None
    kinds = Counter(tuple(sorted(place.items())) for group in groups for place in group)
    each, number = kinds.most_common(1)[0]
    noun = "worker" if any(len(group) > 1 for group in groups) else "trial"
    return Demand(number=number, noun=noun, each=dict(each))


def waiting_reason(demand: Demand, cluster: Cluster) -> str:
    """Say what waits, what is free, and what the autoscaler does about it."""
    return "; ".join((_needed(demand), _free(demand, cluster), _outlook(demand, cluster)))


def _needed(demand: Demand) -> str:
    each = " and ".join(_counted(amount, name) for name, amount in demand.each.items())
    if demand.number == 1:
        return f"1 {demand.noun} needs {each}"
    return f"{demand.number} {demand.noun}s need {each} each"


def _free(demand: Demand, cluster: Cluster) -> str:
    parts = []
    for name in demand.each:
        free = sum(machine.free.get(name, 0.0) for machine in cluster.machines)
        total = sum(machine.total.get(name, 0.0) for machine in cluster.machines)
        parts.append(f"{free:g} of {total:g} {_plural(name)}")
    return f"{' and '.join(parts)} are free"


def _outlook(demand: Demand, cluster: Cluster) -> str:
    starting = cluster.num_starting
    if starting:
        number = f"{starting}" if cluster.most is None else f"{starting} of at most {cluster.most}"
        return f"the autoscaler is starting {number} node{'' if number == '1' else 's'}"
    if cluster.failure is not None:
        return f"the autoscaler could not start a node: {cluster.failure}"
    if cluster.most is None:
        return _outlook_of_machines(demand, cluster.machines)
    if cluster.num_started >= cluster.most:
        return f"the autoscaler has started all of its {cluster.most} nodes"
    number = f"{cluster.num_started} of at most {cluster.most}"
    return f"the autoscaler has started {number} nodes, and starts none now"


def _outlook_of_machines(demand: Demand, machines: Sequence[Machine]) -> str:
    if not any(_holds(machine.total, demand.each) for machine in machines):
        return "no node is large enough for one"
    if any(_holds(machine.free, demand.each) for machine in machines):
        return "some can be placed, but not all that start together"
    return "all nodes are busy"


def _holds(resources: Resources, each: Resources) -> bool:
    return all(resources.get(name, 0.0) >= amount for name, amount in each.items())


def _counted(amount: float, name: str) -> str:
    return f"{amount:g} {name if amount == 1 else _plural(name)}"


def _plural(name: str) -> str:
    return f"{name}s" if name in ("CPU", "GPU") else name
