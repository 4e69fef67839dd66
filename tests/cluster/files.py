"""The files of cluster/, as those read them who use them."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
LAUNCHERS = ("aws", "gcp")
MANIFESTS = ("kuberay-cluster", "kuberay-job")

Way = tuple[str | int, ...]
"""Keys and indices from the root of a document to a value in it."""


def launcher(name: str) -> dict[str, Any]:
    """Return a configuration of Ray's cluster launcher."""
    found = yaml.safe_load((CLUSTER / f"{name}.yaml").read_text())
    assert isinstance(found, dict)
    return found


def ray_resource(name: str) -> dict[str, Any]:
    """Return the resource of KubeRay in a manifest."""
    documents = yaml.safe_load_all((CLUSTER / f"{name}.yaml").read_text())
    (found,) = (d for d in documents if d["apiVersion"].startswith("ray.io/"))
    assert isinstance(found, dict)
    return found


def ray_cluster(name: str) -> dict[str, Any]:
    """Return what a manifest says of its Ray cluster."""
    spec = ray_resource(name)["spec"]
    found = spec.get("rayClusterSpec", spec)
    assert isinstance(found, dict)
    return found


def pins() -> dict[str, str]:
    """Return the version of each package in constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(re.findall(r"^([\w.-]+)==(\S+)$", "\n".join(lines), re.MULTILINE))


def put(document: Any, way: Way, value: Any) -> None:
    """Plant a value in a document, or take one out where it is None."""
    *outer, last = way
    for key in outer:
        document = document[key]
    if value is None:
        del document[last]
    else:
        document[last] = value


def strict(schema: Any) -> Any:
    """Return a JSON schema that allows no property it does not name."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    found = {key: strict(value) for key, value in schema.items() if key != "properties"}
    if isinstance(properties := schema.get("properties"), Mapping):
        # Names of their own, whatever words of a schema they look like.
        found["properties"] = {key: strict(value) for key, value in properties.items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            found.setdefault("additionalProperties", False)
    return found
