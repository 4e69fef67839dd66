"""What files and the command line give, as plain mappings, before it is checked."""

from pathlib import Path
from typing import Any

from raykd.config.yaml_text import read_yaml
from raykd.errors import ConfigError


def read_mapping(path: Path) -> dict[str, Any]:
    """Return what a YAML file holds, unchecked.

    Raises:
        ConfigError: The file cannot be read, or holds no mapping.
    """
    try:
        with path.open("rb") as stream:
            given = read_yaml(stream)
    except FileNotFoundError as error:
        message = f"{path}: no such file; a run is a YAML file such as configs/runs/*.yaml"
        raise ConfigError(message) from error
    except (OSError, ValueError) as error:
        message = f"{path}: cannot be read as YAML: {error}"
        raise ConfigError(message) from error
    if given is not None and not isinstance(given, dict):
        message = f"{path}: must hold a mapping of keys such as 'name:' and 'data:'"
        raise ConfigError(message)
    return given or {}


def replace_value(given: dict[str, Any], key: str, value: Any) -> None:
    """Put a value in its place in a mapping, making the sections on the way.

    Raises:
        ConfigError: The key has an empty part, or leads through a list.
    """
    *parents, last = key.split(".")
    if not all([*parents, last]):
        message = f"{key!r} is no key: write it as in train.seed"
        raise ConfigError(message)
    section = given
    for parent in parents:
        if isinstance(section.get(parent), list):
            message = f"{key}: {parent} is a list; give it whole, as in [a, b]"
            raise ConfigError(message)
        if not isinstance(section.get(parent), dict):
            section[parent] = {}
        section = section[parent]
    section[last] = value


def apply_override(given: dict[str, Any], override: str) -> None:
    """Put the value of one override such as ``train.seed=3`` in its place.

    Raises:
        ConfigError: It is no override, or its key leads through a list.
    """
    key = override_key(override)
    try:
        replace_value(given, key, override_value(override))
    except ConfigError as error:
        message = f"override {override!r}: {error}"
        raise ConfigError(message) from error


def override_key(override: str) -> str:
    """Return the key of an override.

    Raises:
        ConfigError: It is no override.
    """
    key, separator, _ = override.partition("=")
    if not separator or not all(key.split(".")):
        message = f"override {override!r} must have the form key=value, such as train.seed=3"
        raise ConfigError(message)
    return key


def override_value(override: str) -> Any:
    """Return the value of an override, read as YAML.

    Raises:
        ConfigError: It is no YAML.
    """
    try:
        return read_yaml(override.partition("=")[2])
    except ValueError as error:
        message = f"override {override!r}: the value is no YAML: {error}; quote it"
        raise ConfigError(message) from error
