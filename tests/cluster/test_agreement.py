"""The files of cluster/ agree with each other, with the pins and with the program."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from raykd.config.load import load_sweep
from raykd.config.schema.sweep import NodeConfig

from tests.cluster.files import (
    CLUSTER,
    LAUNCHERS,
    MANIFESTS,
    launcher,
    pins,
    ray_cluster,
    ray_resource,
)

FILES = [path for path in sorted(CLUSTER.iterdir()) if path.is_file()]
IMAGE = re.compile(r"ACCOUNT/raykd:ray-(\d+\.\d+\.\d+)-(cpu|cuda)")

HOST = re.compile(r"\b(?:[a-z0-9-]+\.)+(?:com|io|org|dev|net|cloud|aws)\b(?!/[a-z-]*\b:)")
NOT_HOSTS = re.compile(
    r"kueue\.x-k8s\.io/|cloud\.google\.com/gke-spot|kubernetes\.azure\.com/scale|nvidia\.com/gpu"
    r"|ray\.io/v1|eks\.amazonaws\.com/role-arn|iam\.gke\.io/gcp|iam\.gserviceaccount\.com"
    r"|www\.googleapis\.com/auth/|download\.pytorch\.org/whl/cpu"
)
"""Names of labels, taints, scopes and accounts that look like hosts, and PyTorch's own index."""


def images(name: str) -> dict[str, str]:
    """Return the image of the head and of the workers."""
    if name in LAUNCHERS:
        docker = launcher(name)["docker"]
        return {"head": docker["head_image"], "worker": docker["worker_image"]}
    cluster = ray_cluster(name)
    (head,) = cluster["headGroupSpec"]["template"]["spec"]["containers"]
    (worker,) = workers_of(name)["template"]["spec"]["containers"]
    return {"head": head["image"], "worker": worker["image"]}


def workers_of(name: str) -> dict[str, Any]:
    """Return the one group of workers of a manifest."""
    (group,) = ray_cluster(name)["workerGroupSpecs"]
    assert isinstance(group, dict)
    return group


def declared(name: str) -> NodeConfig:
    """Return the machines that a cluster may start, as nodes of a sweep says it."""
    if name in LAUNCHERS:
        gpu = launcher(name)["available_node_types"]["gpu"]
        resources = gpu["resources"]
        return NodeConfig(count=gpu["max_workers"], cpus=resources["CPU"], gpus=resources["GPU"])
    group = workers_of(name)
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    return NodeConfig(
        count=group["maxReplicas"], cpus=float(limits["cpu"]), gpus=limits["nvidia.com/gpu"]
    )


@pytest.mark.parametrize("name", [*LAUNCHERS, *MANIFESTS])
def test_the_images_have_the_pinned_ray(name: str) -> None:
    found = {role: IMAGE.fullmatch(image) for role, image in images(name).items()}
    assert {role: match and match.groups() for role, match in found.items()} == {
        "head": (pins()["ray"], "cpu"),
        "worker": (pins()["ray"], "cuda"),
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_file_names_another_ray(path: Path) -> None:
    named = re.findall(r"(?:ray-|rayVersion: )(\d+\.\d+\.\d+)", path.read_text())
    assert set(named) <= {pins()["ray"]}


@pytest.mark.parametrize("name", MANIFESTS)
def test_kuberay_is_told_the_pinned_ray_and_asks_for_the_token(name: str) -> None:
    cluster = ray_cluster(name)
    assert cluster["rayVersion"] == pins()["ray"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP"


@pytest.mark.parametrize("name", LAUNCHERS)
def test_the_launcher_gives_every_node_the_token_and_nobody_a_public_address(name: str) -> None:
    config = launcher(name)
    assert "--env=RAY_AUTH_MODE=token" in config["docker"]["run_options"]
    assert config["file_mounts"] == {"~/.ray/auth_token": "~/.ray/auth_token"}
    assert config["provider"]["use_internal_ips"] is True
    assert "--dashboard-host=127.0.0.1" in config["head_start_ray_commands"][-1]
    for node_type in config["available_node_types"].values():
        machine = node_type["node_config"]
        assert machine.get("SecurityGroupIds") or machine.get("networkInterfaces")
        assert all("accessConfigs" not in n for n in machine.get("networkInterfaces", []))


@pytest.mark.parametrize("name", LAUNCHERS)
def test_the_head_of_the_launcher_has_no_cpus_and_is_no_spot_machine(name: str) -> None:
    types = launcher(name)["available_node_types"]
    assert types["head"]["resources"] == {"CPU": 0, "GPU": 0}
    assert types["head"]["max_workers"] == 0
    spot = {key: is_spot(value["node_config"]) for key, value in types.items()}
    assert spot == {"head": False, "gpu": True}
    assert types["gpu"]["min_workers"] == 0


def is_spot(machine: dict[str, Any]) -> bool:
    market = machine.get("InstanceMarketOptions", {}).get("MarketType")
    model = machine.get("scheduling", {}).get("provisioningModel")
    return (market, model) in (("spot", None), (None, "SPOT"))


@pytest.mark.parametrize("name", MANIFESTS)
def test_the_head_of_kuberay_has_no_cpus_and_workers_bear_spot_machines(name: str) -> None:
    head = ray_cluster(name)["headGroupSpec"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    assert "tolerations" not in head["template"]["spec"]
    tolerated = {t["key"] for t in workers_of(name)["template"]["spec"]["tolerations"]}
    spot = {"cloud.google.com/gke-spot", "kubernetes.azure.com/scalesetpriority"}
    assert spot | {"nvidia.com/gpu"} == tolerated


def test_all_clusters_may_start_the_same_machines() -> None:
    found = {name: declared(name) for name in (*LAUNCHERS, *MANIFESTS)}
    # Kubernetes keeps a part of each machine for itself: a pod that asks for all of it waits.
    cpus = dict.fromkeys(LAUNCHERS, 4.0) | dict.fromkeys(MANIFESTS, 3.0)
    assert found == {name: NodeConfig(count=8, cpus=cpus[name], gpus=1) for name in found}


def test_the_studies_of_the_readme_ask_for_gpus_that_every_cluster_has() -> None:
    lines = re.sub(r"\\\n\s*", " ", (CLUSTER / "README.md").read_text()).splitlines()
    asked = [
        load_sweep(CLUSTER.parent / "configs" / "sweeps" / "demo.yaml", words)
        for line in lines
        if " configs/sweeps/demo.yaml " in line and "KEY=VALUE" not in line
        for words in [[word for word in line.split() if re.match(r"[a-z_.]+=", word)]]
    ]
    assert len(asked) == 4
    for sweep in asked:
        assert sweep.overrides["cluster.gpus_per_worker"] == 1
        assert sweep.nodes in ({}, {"gpu": declared("kuberay-cluster")})


def test_the_queue_has_room_for_the_job() -> None:
    documents = list(yaml.safe_load_all((CLUSTER / "kueue.yaml").read_text()))
    flavor, queue, local = documents
    job = ray_resource("kuberay-job")["metadata"]
    assert local["metadata"]["name"] == job["labels"]["kueue.x-k8s.io/queue-name"]
    assert local["metadata"]["namespace"] == job.get("namespace", "default")
    assert local["spec"]["clusterQueue"] == queue["metadata"]["name"]
    ((group,),) = [queue["spec"]["resourceGroups"]]
    (quotas,) = group["flavors"]
    assert quotas["name"] == flavor["metadata"]["name"]
    room = {each["name"]: each["nominalQuota"] for each in quotas["resources"]}
    cluster = ray_cluster("kuberay-job")
    (head,) = cluster["headGroupSpec"]["template"]["spec"]["containers"]
    workers = workers_of("kuberay-job")
    (worker,) = workers["template"]["spec"]["containers"]
    autoscaler = cluster["autoscalerOptions"]["resources"]["requests"]
    # KubeRay's pod that submits asks for half a CPU and 200 MiB.
    asked = [(head["resources"]["requests"], 1), (autoscaler, 1), ({"cpu": "500m"}, 1)]
    asked += [({"memory": "200Mi"}, 1), (worker["resources"]["requests"], workers["maxReplicas"])]
    for name, quota in room.items():
        total = sum(times * amount(some[name]) for some, times in asked if name in some)
        assert total <= amount(quota) < total + amount(worker["resources"]["requests"][name])


def amount(quantity: str | int) -> float:
    """Return a quantity of Kubernetes as a number."""
    number, unit = re.fullmatch(r"([\d.]+)(m|Mi|Gi)?", str(quantity)).groups()  # type: ignore[union-attr]
    return float(number) * {None: 1.0, "m": 1e-3, "Mi": 2.0**20, "Gi": 2.0**30}[unit]


def test_the_job_and_the_cluster_of_kuberay_are_alike() -> None:
    assert ray_cluster("kuberay-job") == ray_cluster("kuberay-cluster")


def test_the_job_runs_a_sweep_that_fits_its_cluster() -> None:
    spec = ray_resource("kuberay-job")["spec"]
    python, program, file, *overrides = shlex.split(spec["entrypoint"])
    assert (python, program) == ("python", "/opt/raykd/jobs/sweep.py")
    sweep = load_sweep(CLUSTER.parent / Path(file).relative_to("/opt/raykd"), overrides)
    assert sweep.nodes == {"gpu": declared("kuberay-job")}
    assert sweep.overrides["cluster.gpus_per_worker"] == 1


def test_kueue_starts_the_job_and_the_job_takes_its_cluster_away() -> None:
    job = ray_resource("kuberay-job")
    assert "kueue.x-k8s.io/queue-name" in job["metadata"]["labels"]
    assert job["metadata"]["annotations"] == {"kueue.x-k8s.io/elastic-job": "true"}
    spec = job["spec"]
    # Kueue alone decides that it waits: nobody else would let it go on.
    assert "suspend" not in spec
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["ttlSecondsAfterFinished"] <= 600


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_worker_has_time_to_leave(name: str) -> None:
    pod = workers_of(name)["template"]["spec"]
    (worker,) = pod["containers"]
    (seconds,) = (
        variable["value"]
        for variable in worker["env"]
        if variable["name"] == "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"
    )
    assert int(seconds) < pod["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_host_is_named(path: Path) -> None:
    text = NOT_HOSTS.sub("", path.read_text())
    assert re.findall(HOST, text) == []


def test_a_host_would_be_found() -> None:
    for text in ("image: ghcr.io/me/raykd:1", "nvcr.io/nvidia/pytorch", "https://pypi.org/simple"):
        assert HOST.search(NOT_HOSTS.sub("", text))


@pytest.mark.parametrize("path", [p for p in FILES if p.suffix == ".yaml"], ids=lambda p: p.name)
def test_no_key_is_given_twice(path: Path) -> None:
    for document in yaml.compose_all(path.read_text(), Loader=yaml.SafeLoader):
        assert list(repeated(document)) == []


def repeated(node: Any) -> list[str]:
    """Return the keys that a mapping, or one in it, has more than once."""
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value]
        found = [key for key in set(keys) if keys.count(key) > 1]
        return [*found, *(key for _, value in node.value for key in repeated(value))]
    if isinstance(node, yaml.SequenceNode):
        return [key for value in node.value for key in repeated(value)]
    return []
