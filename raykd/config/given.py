"""What files and the command line give, as plain mappings, before it is checked."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from raykd.config.keys import KeyDoc, Schema, key_doc
from raykd.config.schema.run import RunConfig
from raykd.config.yaml_text import read_value, read_yaml
from raykd.errors import ConfigError


def read_mapping(path: Path) -> dict[str, Any]:
    """Return what a YAML file holds, unchecked.

    Raises:
        ConfigError: The file cannot be read, or holds no mapping.
    """
    try:
        with path.open("rb") as stream:
            # Bytes: YAML says itself in which encoding of Unicode it is.
            given = read_yaml(stream)
    except FileNotFoundError as error:
        message = (
            f"{path}: no such file; a run is a YAML file such as configs/runs/*.yaml, a sweep one "
            "such as configs/sweeps/*.yaml"
        )
        raise ConfigError(message) from error
    except IsADirectoryError as error:
        message = (
            f"{path}: is a directory; give the YAML file that it was started from. The directory "
            "of a sweep is for raykd report, that of a run for raykd evaluate, export and replay"
        )
        raise ConfigError(message) from error
    except (OSError, ValueError) as error:
        message = f"{path}: cannot be read as YAML: {error}"
        raise ConfigError(message) from error
    if given is not None and not isinstance(given, dict):
        message = f"{path}: must hold a mapping of keys such as 'name:' and 'data:'"
        raise ConfigError(message)
    return given or {}


def replace_value(given: dict[str, Any], key: str, value: object) -> None:
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
            # A present section is a chosen alternative: losses.forward_kl.weight=1 switches
            # forward_kl on.
            section[parent] = {}
        section = section[parent]
    section[last] = value


def apply_override(given: dict[str, Any], override: str, schema: Schema = RunConfig) -> None:
    """Put the value of one override such as ``train.seed=3`` in its place.

    Args:
        given: What a file holds, changed in place.
        override: One key and its value, KEY=VALUE.
        schema: What the file configures.

    Raises:
        ConfigError: It is no override, or its key leads through a list.
    """
    key = override_key(override)
    try:
        replace_value(given, key, override_value(override, key_doc(key.split("."), schema)))
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


def places_and_overrides(words: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return words of a command line that name files or directories, and those that are KEY=VALUE.

    A place may hold a sign of equality, but no key holds a slash.
    """
    apart: tuple[list[str], list[str]] = ([], [])
    for word in words:
        key, sign, _ = word.partition("=")
        apart[bool(sign) and "/" not in key].append(word)
    return apart


def is_yaml(place: str) -> bool:
    """Tell whether a place is a YAML file, by its name."""
    return place.endswith((".yaml", ".yml"))


def override_value(override: str, doc: KeyDoc | None) -> object:
    """Return the value of an override: all that stands behind the sign.

    Args:
        override: One key and its value, KEY=VALUE.
        doc: What is known of the key; None of one that is unknown.

    Raises:
        ConfigError: It begins as a list, a mapping or a quotation of YAML does, and is none.
    """
    key, _, text = override.partition("=")
    try:
        value = read_value(text)
    except ValueError as error:
        message = (
            f"override {override!r}: the value is no YAML: {error}; quote it, as in "
            f"\"{key}='...'\""
        )
        raise ConfigError(message) from error
    # As a number, a directory 007 would be another.
    is_text = doc is not None and doc.type_name.startswith("str")
    return text.strip() if is_text and isinstance(value, int) else value
