"""What an autoscaler may start is read from the file that the cluster launcher leaves."""

from typing import Any

from raykd.config.schema.sweep import NodeConfig
from raykd.ray_cluster.autoscaler import nodes_of_launcher

HEAD = {"resources": {"CPU": 2}, "max_workers": 0}
SMALL = {"resources": {"CPU": 4, "memory": 16e9}, "max_workers": 3}
GPU = {"resources": {"CPU": 16, "GPU": 4}, "max_workers": 2}


def launched(max_workers: int, **kinds: Any) -> dict[str, Any]:
    return {
        "max_workers": max_workers,
        "head_node_type": "head",
        "available_node_types": {"head": HEAD, **kinds},
    }


def test_every_kind_counts_at_its_most_but_for_the_head() -> None:
    assert nodes_of_launcher(launched(8, small=SMALL, gpu=GPU)) == [
        NodeConfig(count=2, cpus=16, gpus=4),
        NodeConfig(count=3, cpus=4, memory_gb=16),
    ]


def test_all_kinds_together_stay_within_the_limit_of_the_cluster() -> None:
    nodes = nodes_of_launcher(launched(3, small=SMALL, gpu=GPU))
    assert [(node.gpus, node.count) for node in nodes] == [(4, 2), (0, 1)]
    nodes = nodes_of_launcher(launched(1, small=SMALL, gpu=GPU))
    assert [(node.gpus, node.count) for node in nodes] == [(4, 1)]


def test_a_kind_without_a_limit_has_that_of_the_cluster() -> None:
    [node] = nodes_of_launcher(launched(5, small={"resources": {"CPU": 4}}))
    assert node.count == 5


def test_kinds_of_unknown_size_and_those_that_are_off_are_left_out() -> None:
    off = SMALL | {"max_workers": 0}
    assert nodes_of_launcher(launched(5, unknown={"max_workers": 2}, off=off)) == []


def test_what_is_no_file_of_the_launcher_allows_nothing() -> None:
    assert nodes_of_launcher({}) == []
