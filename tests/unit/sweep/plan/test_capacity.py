"""What machines hold is counted in whole bundles, each on one machine."""

import os
from dataclasses import replace

import pytest
from raykd.config.schema.sweep import NodeConfig, SweepConfig
from raykd.config.yaml_text import read_yaml
from raykd.sweep.plan.capacity import (
    Machines,
    Need,
    held_at_once,
    machines_of,
    room_problem,
    scarcest,
    this_machine,
)

LAPTOP = NodeConfig(cpus=8, memory_gb=16)
GPU_NODE = NodeConfig(count=2, cpus=16, gpus=4, memory_gb=256, gpu_memory_gb=80)


def need(
    workers: int = 0, *, cpus: float = 1, gpus: float = 0, gigabytes: float | None = None
) -> Need:
    return Need(
        num_workers=workers,
        cpus_per_worker=cpus,
        gpus_per_worker=gpus,
        memory_bytes=None if gigabytes is None else int(gigabytes * 1e9),
    )


@pytest.mark.parametrize(
    ("asked", "held"),
    [
        (need(0), 8),
        (need(1), 8),
        (need(2), 4),
        (need(3), 2),
        (need(2, cpus=3), 1),
        (need(1, cpus=0.1), 80),
        (need(1, gpus=1), 0),
        (need(1, gigabytes=6), 2),
        (need(2, gigabytes=6), 1),
        (need(1, gigabytes=17), 0),
    ],
)
def test_a_laptop_holds_as_many_runs_as_its_cores_and_memory_allow(asked: Need, held: int) -> None:
    assert held_at_once(asked, [LAPTOP]) == held
    assert (room_problem(asked, [LAPTOP]) is None) == (held > 0)


@pytest.mark.parametrize(
    ("asked", "held"),
    [
        (need(1, gpus=1), 8),
        (need(1, gpus=0.5), 16),
        (need(1, gpus=0.4), 16),
        (need(1, gpus=0.1), 32),
        (need(1, cpus=0.1, gpus=0.1), 80),
        (need(1, gpus=0.6), 8),
        (need(1, gpus=3), 2),
        (need(2, gpus=3), 1),
        (need(3, gpus=3), 0),
        (need(8, gpus=1), 1),
        (need(1, gpus=0.1, gigabytes=30), 16),
        (need(1, gpus=2, gigabytes=70), 4),
        (need(1, gpus=2, gigabytes=90), 0),
    ],
)
def test_gpus_are_shared_in_parts_but_never_split_over_two(asked: Need, held: int) -> None:
    assert held_at_once(asked, [GPU_NODE]) == held


def test_bundles_do_not_split_over_machines_but_runs_do() -> None:
    nodes = [NodeConfig(count=3, cpus=3), NodeConfig(cpus=1)]
    assert held_at_once(need(1, cpus=2), nodes) == 3
    assert held_at_once(need(3, cpus=2), nodes) == 1
    assert held_at_once(need(10), nodes) == 1


def test_what_runs_out_first_is_named() -> None:
    assert scarcest(need(1), [LAPTOP]) == "CPUs"
    assert scarcest(need(1, gigabytes=6), [LAPTOP]) == "memory"
    assert scarcest(need(1, gpus=1), [GPU_NODE]) == "GPUs"
    assert scarcest(need(1, cpus=8, gpus=1), [GPU_NODE]) == "CPUs"
    assert scarcest(need(1, gpus=0.1, gigabytes=75), [GPU_NODE]) == "memory"


def test_a_bundle_that_no_machine_has_is_named_beside_the_largest() -> None:
    problem = room_problem(need(3, cpus=4, gpus=1), [LAPTOP])
    assert problem is not None
    assert "3 worker(s) of {CPU: 4, GPU: 1} each do not fit" in problem
    assert "the largest machine has {CPU: 8, GPU: 0}" in problem


def test_too_many_workers_are_told_how_many_there_is_room_for() -> None:
    problem = room_problem(need(3, cpus=3), [LAPTOP])
    assert problem is not None
    assert "there is room for 2" in problem
    assert "lower cluster.num_workers" in problem


def test_too_little_memory_is_told_with_both_figures() -> None:
    problem = room_problem(need(1, gigabytes=20), [LAPTOP])
    assert problem is not None
    assert "about 20.00 GB each, but the largest machine has 16.00 GB" in problem
    problem = room_problem(need(1, gpus=1, gigabytes=90), [GPU_NODE])
    assert problem is not None
    assert "the largest GPU has 80.00 GB" in problem


@pytest.mark.parametrize(
    ("asked", "nodes", "declared"),
    [
        (need(1, cpus=9), [LAPTOP], "nodes: {worker: {count: 1, cpus: 9}}"),
        (need(3, cpus=3), [LAPTOP], "nodes: {worker: {count: 3, cpus: 3}}"),
        (need(2, gpus=0.5), [LAPTOP], "nodes: {worker: {count: 2, cpus: 1, gpus: 1}}"),
        (need(1), [], "nodes: {worker: {count: 1, cpus: 1}}"),
        (need(1, gigabytes=20), [LAPTOP], "nodes: {worker: {count: 1, cpus: 1, memory_gb: 20}}"),
        (
            need(1, gpus=1, gigabytes=90),
            [GPU_NODE],
            "nodes: {worker: {count: 1, cpus: 1, gpus: 1, gpu_memory_gb: 90}}",
        ),
    ],
)
def test_what_an_autoscaler_would_have_to_start_can_be_copied(
    asked: Need, nodes: list[NodeConfig], declared: str
) -> None:
    problem = room_problem(asked, nodes)
    assert problem is not None
    assert problem.endswith(declared)
    # It is enough.
    [node] = read_yaml(declared)["nodes"].values()
    assert room_problem(asked, [NodeConfig(**node)]) is None


def test_a_cluster_without_machines_is_told_so() -> None:
    assert "no machine with CPUs is there" in str(room_problem(need(1), []))


def test_what_is_declared_goes_before_what_is_there() -> None:
    there = Machines(nodes=(GPU_NODE,), origin="a cluster")
    sweep = SweepConfig(name="study", base="base.yaml")
    assert machines_of(sweep, there) is there
    assert str(there) == "2 x 16 CPU, 4 GPU, 256.0 GB: a cluster"
    assert machines_of(sweep, None).origin == "this one"
    declared = machines_of(replace(sweep, nodes={"mine": LAPTOP}), there)
    assert str(declared) == "1 x 8 CPU, 0 GPU, 16.0 GB: declared in nodes"
    assert str(Machines(nodes=(), origin="a cluster")) == "none: a cluster"


def test_memory_that_is_not_declared_is_not_checked() -> None:
    assert held_at_once(need(1, gigabytes=1_000), [replace(LAPTOP, memory_gb=None)]) == 8


def test_more_than_one_gpu_must_be_whole() -> None:
    problem = room_problem(need(1, gpus=1.5), [GPU_NODE])
    assert problem == "cluster.gpus_per_worker must be whole or below 1, got 1.5"


def test_this_machine_has_the_cores_that_the_process_may_use() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert this_machine().cpus == 1
    finally:
        os.sched_setaffinity(0, before)


def test_this_machine_holds_a_small_run() -> None:
    assert held_at_once(need(1, gigabytes=0.01), [this_machine()]) >= 1
