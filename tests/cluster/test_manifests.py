"""The manifests are what KubeRay's custom resource definitions describe, to the last key."""

import functools
from typing import Any

import jsonschema
import pytest
import yaml

from tests.cluster.files import CLUSTER, MANIFESTS, ROOT, Way, put, ray_resource, strict

DEFINITIONS = ROOT.parent / "shared" / "kuberay"
FILES = {"RayCluster": "ray.io_rayclusters.yaml", "RayJob": "ray.io_rayjobs.yaml"}

needs_definitions = pytest.mark.skipif(
    not all((DEFINITIONS / name).exists() for name in FILES.values()),
    reason=f"KubeRay's custom resource definitions are not at {DEFINITIONS}",
)


@functools.cache
def checker(kind: str) -> jsonschema.Draft202012Validator:
    """Return what checks a resource as the API server does that refuses unknown fields."""
    with (DEFINITIONS / FILES[kind]).open() as stream:
        definition = yaml.load(stream, Loader=yaml.CSafeLoader)
    (schema,) = (
        version["schema"]["openAPIV3Schema"]
        for version in definition["spec"]["versions"]
        if version["name"] == "v1"
    )
    # Kubernetes knows what metadata has.
    schema["properties"]["metadata"] = {}
    return jsonschema.Draft202012Validator(strict(_json_schema(schema)))


def _json_schema(part: Any) -> Any:
    """Return a schema of Kubernetes as JSON schema has it."""
    if isinstance(part, list):
        return [_json_schema(value) for value in part]
    if not isinstance(part, dict):
        return part
    found = {key: _json_schema(value) for key, value in part.items()}
    if part.get("x-kubernetes-int-or-string"):
        found.pop("type", None)
        found["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    return found


def problems(resource: dict[str, Any]) -> list[str]:
    errors = checker(resource["kind"]).iter_errors(resource)
    return [f"{error.json_path}: {error.message}" for error in errors]


@needs_definitions
@pytest.mark.parametrize("name", MANIFESTS)
def test_the_definition_knows_every_key(name: str) -> None:
    assert problems(ray_resource(name)) == []


@needs_definitions
@pytest.mark.parametrize(
    ("name", "way", "value"),
    [
        ("kuberay-job", ("shutDownAfterJobFinishes",), True),
        ("kuberay-job", ("ttlSecondsAfterFinished",), "5m"),
        ("kuberay-job", ("rayClusterSpec", "workerGroupSpecs", 0, "minReplicas"), None),
        ("kuberay-job", ("rayClusterSpec", "autoscalerOptions", "version"), "v3"),
        ("kuberay-cluster", ("authOptions", "mode"), "tokens"),
        ("kuberay-cluster", ("enableInTreeAutoscaler",), True),
        ("kuberay-cluster", ("headGroupSpec", "rayStartParams", "num-cpus"), 0),
        ("kuberay-cluster", ("workerGroupSpecs", 0, "maxReplicas"), "many"),
        (
            "kuberay-cluster",
            ("workerGroupSpecs", 0, "template", "spec", "tolerations", 0, "effects"),
            "NoSchedule",
        ),
        (
            "kuberay-cluster",
            ("headGroupSpec", "template", "spec", "containers", 0, "imagee"),
            "raykd",
        ),
    ],
)
def test_a_mistake_would_be_found(name: str, way: Way, value: Any) -> None:
    resource = ray_resource(name)
    put(resource["spec"], way, value)
    assert len(problems(resource)) == 1


@pytest.mark.parametrize("name", MANIFESTS)
def test_the_service_account_of_the_pods_is_made_beside_them(name: str) -> None:
    account, resource = yaml.safe_load_all((CLUSTER / f"{name}.yaml").read_text())
    assert (account["kind"], account["metadata"]["name"]) == ("ServiceAccount", "raykd")
    assert resource["apiVersion"] == "ray.io/v1"
