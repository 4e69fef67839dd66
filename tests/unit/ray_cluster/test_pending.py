"""Why work waits is said in one line: what for, what is free, and what is done about it."""

from typing import Any

import pytest
from raykd.ray_cluster.pending import (
    Cluster,
    Demand,
    Machine,
    Resources,
    Wait,
    WaitClock,
    demand_of,
    waiting_reason,
)

ONE: Resources = {"CPU": 1}
NO_CPU = Machine(total={"memory": 1e9}, free={"memory": 1e9})


def machine(cpus: float, free: float, *, gpus: float = 0, free_gpus: float = 0) -> Machine:
    return Machine(total={"CPU": cpus, "GPU": gpus}, free={"CPU": free, "GPU": free_gpus})


def cluster(*machines: Machine, **state: Any) -> Cluster:
    return Cluster(machines=machines, **state)


THREE_TRIALS = Demand(number=3, noun="trial", each=ONE)
TWO_WORKERS = Demand(number=2, noun="worker", each={"CPU": 4, "GPU": 1})


@pytest.mark.parametrize(
    ("demand", "cluster", "reason"),
    [
        (
            THREE_TRIALS,
            cluster(NO_CPU, num_starting=2, most=2),
            "3 trials need 1 CPU each; 0 of 0 CPUs are free; "
            "the autoscaler is starting 2 of at most 2 nodes",
        ),
        (
            THREE_TRIALS,
            cluster(machine(1, 0), num_starting=1),
            "3 trials need 1 CPU each; 0 of 1 CPUs are free; the autoscaler is starting 1 node",
        ),
        (
            Demand(number=1, noun="trial", each=ONE),
            cluster(machine(1, 0), machine(1, 0), num_started=2, most=2),
            "1 trial needs 1 CPU; 0 of 2 CPUs are free; "
            "the autoscaler has started all of its 2 nodes",
        ),
        (
            THREE_TRIALS,
            cluster(machine(1, 0), num_started=1, most=4),
            "3 trials need 1 CPU each; 0 of 1 CPUs are free; "
            "the autoscaler has started 1 of at most 4 nodes, and starts none now",
        ),
        (
            THREE_TRIALS,
            cluster(NO_CPU, most=4, failure="spot: InsufficientInstanceCapacity"),
            "3 trials need 1 CPU each; 0 of 0 CPUs are free; "
            "the autoscaler could not start a node: spot: InsufficientInstanceCapacity",
        ),
        (
            TWO_WORKERS,
            cluster(machine(8, 6, gpus=1, free_gpus=0)),
            "2 workers need 4 CPUs and 1 GPU each; 6 of 8 CPUs and 0 of 1 GPUs are free; "
            "all nodes are busy",
        ),
        (
            TWO_WORKERS,
            cluster(machine(2, 2), machine(2, 2)),
            "2 workers need 4 CPUs and 1 GPU each; 4 of 4 CPUs and 0 of 0 GPUs are free; "
            "no node is large enough for one",
        ),
        (
            TWO_WORKERS,
            cluster(machine(4, 4, gpus=1, free_gpus=1)),
            "2 workers need 4 CPUs and 1 GPU each; 4 of 4 CPUs and 1 of 1 GPUs are free; "
            "some can be placed, but not all that start together",
        ),
        (
            Demand(number=1, noun="trial", each={"CPU": 0.5, "memory": 2e9}),
            cluster(Machine(total={"CPU": 2, "memory": 4e9}, free={"CPU": 2, "memory": 1e9})),
            "1 trial needs 0.5 CPUs and 2e+09 memory; "
            "2 of 2 CPUs and 1e+09 of 4e+09 memory are free; all nodes are busy",
        ),
    ],
)
def test_a_wait_is_explained(demand: Demand, cluster: Cluster, reason: str) -> None:
    assert waiting_reason(demand, cluster) == reason


def test_the_most_frequent_kind_of_place_is_told() -> None:
    assert demand_of([]) is None
    assert demand_of([[ONE], [{"CPU": 2}], [ONE]]) == Demand(number=2, noun="trial", each=ONE)


def test_places_of_one_run_are_its_workers() -> None:
    assert demand_of([[ONE, ONE]]) == Demand(number=2, noun="worker", each=ONE)


def test_a_wait_is_that_of_the_one_that_waits_longest() -> None:
    now = 0.0
    clock = WaitClock(clock=lambda: now)
    now = 5.0
    assert clock.seconds([]) == 0
    now = 10.0
    assert clock.seconds(["a", "b"]) == 0
    now = 40.0
    assert clock.seconds(["a", "b", "c"]) == 30
    now = 50.0
    # That a has its place is no help to b.
    assert clock.seconds(["b", "c"]) == 40
    now = 57.0
    assert clock.seconds(["c"]) == 17
    assert clock.seconds([]) == 0
    now = 60.0
    # It has lost the place that it had.
    assert clock.seconds(["a"]) == 0


def test_a_wait_is_told_with_its_seconds() -> None:
    assert str(Wait(seconds=64.6, reason="3 trials need a GPU")) == (
        "waiting 65 s: 3 trials need a GPU"
    )
