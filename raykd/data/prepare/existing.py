"""What an earlier start left: the finished data set, or a work directory with parts of it."""

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import tokenizers
import transformers

import raykd
from raykd import storage
from raykd.config.schema.prepare import PrepareOptions
from raykd.data.manifest import Manifest, read_manifest
from raykd.data.prepare.inputs import Inputs
from raykd.errors import ConfigError, PublicationError
from raykd.published.directory import COMMITTED


def recorded_options(options: PrepareOptions, inputs: Inputs) -> dict[str, Any]:
    """Return what the manifest says about how a data set was made."""
    recorded: dict[str, Any] = json.loads(json.dumps(options.record()))
    return {**recorded, "inputs": inputs.record}


def finished_data(options: PrepareOptions, inputs: Inputs) -> Manifest | None:
    """Return the manifest of the very data set that is asked for, if it is there already.

    Raises:
        ConfigError: Something else is there.
    """
    uri = options.output_uri
    _check_writable(uri)
    if options.overwrites or not storage.list_names(uri):
        return None
    if not storage.exists(storage.join(uri, COMMITTED)):
        if not storage.is_local(uri):
            return None  # an upload that was interrupted; local directories appear at once
        message = f"{uri}: holds files that are no prepared data; name another --output"
        raise ConfigError(message)
    try:
        manifest = read_manifest(uri)
    except PublicationError as error:
        message = f"{error}; name another --output"
        raise ConfigError(message) from error
    if reason := _difference(manifest, options, inputs):
        message = f"{uri}: {reason}; replace it with --overwrite or name another --output"
        raise ConfigError(message)
    return manifest


def work_directory(options: PrepareOptions, inputs: Inputs) -> Path:
    """Return the local directory for the parts of exactly this data set.

    Its name depends on everything that the parts depend on, so that none is reused wrongly.
    """
    versions = [raykd.__version__, tokenizers.__version__, transformers.__version__]
    state = [recorded_options(options, inputs), inputs.state(), versions]
    key = hashlib.sha256(json.dumps(state).encode()).hexdigest()[:12]
    root = _work_root(options.output_uri)
    return root.with_name(f"{root.name}{key}")


def discard_useless_work(work: Path, inputs: Inputs) -> None:
    """Remove a work directory whose inputs are wrong: mended ones get another directory.

    What is not on this machine may be right, and have failed on its way.
    """
    if all(file.format is not None and storage.is_local(file.uri) for file in inputs.files):
        shutil.rmtree(work, ignore_errors=True)


def remove_work(uri: str) -> None:
    """Remove all work directories of a published output, those of abandoned options too."""
    root = _work_root(uri)
    for path in root.parent.glob(f"{root.name}*"):
        shutil.rmtree(path, ignore_errors=True)


def _check_writable(uri: str) -> None:
    """Refuse a local output below something that is no directory, or may not be written.

    Raises:
        ConfigError: The message names what stands in the way.
    """
    if not storage.is_local(uri):
        return
    with storage.local_copy(uri) as path:
        nearest = next(parent for parent in path.absolute().parents if parent.exists())
    if not nearest.is_dir():
        message = f"{uri}: {nearest} is a file, not a directory; name another --output"
        raise ConfigError(message)
    if not os.access(nearest, os.W_OK | os.X_OK):
        message = f"{uri}: nothing can be written to {nearest}; name another --output"
        raise ConfigError(message)


def _work_root(uri: str) -> Path:
    """Return the common beginning of the paths of all work directories of an output."""
    if not storage.is_local(uri):
        digest = hashlib.sha256(uri.encode()).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"raykd-prepare-{digest}-"
    with storage.local_copy(uri) as path:
        return path.with_name(f".{path.name}.prepare-")


def _difference(manifest: Manifest, options: PrepareOptions, inputs: Inputs) -> str | None:
    """Say how a data set differs from what is asked for; None where it does not."""
    wanted, found = _flat(recorded_options(options, inputs)), _flat(manifest.options)
    differing = [
        f"{name}: {found.get(name)!r}, not {value!r}"
        for name, value in wanted.items()
        if found.get(name) != value and name != "inputs"
    ]
    if differing:
        return f"holds data prepared with other options ({'; '.join(differing)})"
    committed = storage.join(manifest.uri, COMMITTED)
    if found.get("inputs") != wanted["inputs"] or inputs.changed_since(committed):
        return "was prepared from inputs that have changed since"
    return None


def _flat(nested: dict[str, Any]) -> dict[str, Any]:
    """Return the entries of nested mappings under dotted names."""
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, dict):
            flat.update({f"{name}.{inner}": one for inner, one in _flat(value).items()})
        else:
            flat[name] = value
    return flat
