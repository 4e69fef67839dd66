"""The launcher's files pass Ray's own check, and the clouds' for their machines."""

import copy
import json
from pathlib import Path
from typing import Any

import botocore.session
import jsonschema
import pytest
from botocore.validate import ParamValidator
from googleapiclient.discovery_cache import get_static_doc
from ray.autoscaler._private.util import prepare_config, validate_config

from ray import autoscaler
from tests.cluster.files import LAUNCHERS, Way, launcher, put, strict

RAY_REFUSES = (ValueError, RuntimeError, AssertionError, jsonschema.ValidationError)


def require_valid(config: dict[str, Any]) -> dict[str, Any]:
    """Return what Ray's launcher makes of a configuration, after its own checks."""
    prepared: dict[str, Any] = prepare_config(copy.deepcopy(config))
    validate_config(prepared)
    # Ray's own schema, but for the provider's keys too.
    schema = json.loads((Path(autoscaler.__file__).parent / "ray-schema.json").read_text())
    del schema["properties"]["provider"]["additionalProperties"]
    jsonschema.validate(config, strict(schema))
    return prepared


def machine_problems(config: dict[str, Any]) -> list[str]:
    """Return what the cloud's description of its interface says against the machines."""
    of_cloud = {"aws": aws_problems, "gcp": gcp_problems}[config["provider"]["type"]]
    types = config["available_node_types"]
    return [f"{name}: {p}" for name in types for p in of_cloud(types[name]["node_config"])]


def aws_problems(machine: dict[str, Any]) -> list[str]:
    """Return what RunInstances would refuse."""
    asked = {"MinCount": 1, "MaxCount": 1, **machine}
    # Of Ray, which tries them in turn as SubnetId.
    asked["SubnetId"] = asked.pop("SubnetIds")[0]
    operation = botocore.session.Session().get_service_model("ec2").operation_model("RunInstances")
    report = ParamValidator().validate(asked, operation.input_shape)
    return list(report.generate_report().splitlines())


def gcp_problems(machine: dict[str, Any]) -> list[str]:
    """Return what instances.insert would refuse."""
    document = json.loads(get_static_doc("compute", "v1"))
    schemas = strict({name: _json_schema(s) for name, s in document["schemas"].items()})
    root = {"$ref": "#/schemas/Instance", "schemas": schemas}
    errors = jsonschema.Draft202012Validator(root).iter_errors(machine)
    return [f"{error.json_path}: {error.message}" for error in errors]


def _json_schema(part: Any) -> Any:
    """Return a schema of Google's as JSON schema has it."""
    if isinstance(part, list):
        return [_json_schema(value) for value in part]
    if not isinstance(part, dict):
        return part
    found = {key: _json_schema(value) for key, value in part.items()}
    if isinstance(ref := part.get("$ref"), str):
        found["$ref"] = f"#/schemas/{ref}"
    if part.get("format") in ("int64", "uint64"):
        # Large numbers are text on the wire; small ones may be either.
        found["type"] = ["string", "integer"]
    return found


@pytest.mark.parametrize("name", LAUNCHERS)
def test_ray_takes_it_as_it_is(name: str) -> None:
    config = launcher(name)
    prepared = require_valid(config)
    # Nothing of Ray's defaults remains, which would install a nightly Ray and open the dashboard.
    for commands in ("setup_commands", "head_setup_commands", "worker_setup_commands"):
        assert prepared[commands] == []
    assert prepared["head_start_ray_commands"] == config["head_start_ray_commands"]
    assert prepared["worker_start_ray_commands"] == config["worker_start_ray_commands"]
    assert set(prepared["available_node_types"]) == {"head", "gpu"}


@pytest.mark.parametrize("name", LAUNCHERS)
def test_the_cloud_knows_every_key_of_its_machines(name: str) -> None:
    assert machine_problems(launcher(name)) == []


@pytest.mark.parametrize(
    ("way", "value"),
    [
        (("max_wrokers",), 8),
        (("max_workers",), "eight"),
        (("head_node_type",), "haed"),
        (("available_node_types", "gpu", "minworkers"), 0),
        (("available_node_types", "gpu", "min_workers"), 9),
        (("available_node_types", "gpu", "resources"), None),
        (("provider", "use_internal_ip"), True),
        (("auth", "ssh_users"), "ubuntu"),
        (("docker", "head_image"), None),
        (("docker", "run_option"), []),
    ],
)
@pytest.mark.parametrize("name", LAUNCHERS)
def test_ray_would_refuse_a_mistake(name: str, way: Way, value: Any) -> None:
    config = launcher(name)
    put(config, way, value)
    with pytest.raises(RAY_REFUSES):
        require_valid(config)


@pytest.mark.parametrize(
    ("name", "way", "value"),
    [
        ("aws", ("InstanceMarketOption",), {"MarketType": "spot"}),
        ("aws", ("InstanceMarketOptions", "SpotOptions", "MaxPrices"), "1"),
        ("aws", ("SecurityGroupIds",), "sg-1"),
        ("aws", ("IamInstanceProfile", "Names"), "raykd"),
        ("gcp", ("scheduling", "provisioningModel"), "SPOTTY"),
        ("gcp", ("scheduling", "preemptable"), True),
        ("gcp", ("disks", 0, "initializeParams", "diskSizeGB"), 100),
        ("gcp", ("serviceAccounts",), {}),
    ],
)
def test_the_cloud_would_refuse_a_mistake(name: str, way: Way, value: Any) -> None:
    config = launcher(name)
    put(config["available_node_types"]["gpu"]["node_config"], way, value)
    assert len(machine_problems(config)) == 1
