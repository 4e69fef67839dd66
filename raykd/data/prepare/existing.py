"""What an earlier start left: the finished data set, or a work directory with parts of it."""

import hashlib
import json
import re
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import tokenizers
import transformers

import raykd
from raykd.config.schema.prepare import PrepareOptions
from raykd.data.manifest import KIND, Manifest, read_manifest
from raykd.data.prepare.inputs import Inputs
from raykd.errors import ConfigError, PublicationError, StorageError
from raykd.storage import uris
from raykd.storage.published import ownership
from raykd.storage.remote.local_place import require_writable

_INPUTS = "inputs"
_CONTENTS = ("content", "tokenizer")
_PLACES = re.compile(r"sources\.(train|splits\..*)|tokenizer\.source")
"""Options that only say where something lies."""


def recorded_options(options: PrepareOptions, inputs: Inputs) -> dict[str, object]:
    """Return what the manifest says about how a data set was made."""
    return {**_options(options), _INPUTS: inputs.record}


@dataclass(frozen=True, kw_only=True, slots=True)
class Existing:
    """A data set that the same command prepared before."""

    manifest: Manifest
    is_current: bool
    """Whether its sources and its tokenizer hold what they held then."""


def existing_data(options: PrepareOptions, inputs: Inputs) -> Existing | None:
    """Return the data set that is asked for, if it is there already.

    Raises:
        ConfigError: Data that other options or sources made are there.
        PublicationError: Something else is there, or it is no place for data.
    """
    uri = options.output_uri
    holding = ownership.require_place(uri, kind=KIND, overwrites=True)
    require_writable(uri, "--output")
    if options.overwrites or not holding.is_whole:
        return None
    try:
        manifest = read_manifest(uri)
    except PublicationError as error:
        message = f"{error}; name another --output"
        raise ConfigError(message) from error
    if reason := _difference(manifest, options, inputs):
        message = f"{uri}: {reason}; replace it with --overwrite or name another --output"
        raise ConfigError(message)
    return Existing(manifest=manifest, is_current=_is_current(manifest, inputs))


def work_directory(options: PrepareOptions, inputs: Inputs, *, is_shared: bool) -> str:
    """Return the directory for the parts of exactly this data set.

    Its name depends on everything that the parts depend on, so that none is reused wrongly.

    Args:
        options: What is asked for.
        inputs: What is read.
        is_shared: Whether other machines must reach it: then it is beside the output, in a
            store too, instead of on this machine.
    """
    # Another version of a library may cut the same text into other tokens.
    versions = [raykd.__version__, tokenizers.__version__, transformers.__version__]
    state = [recorded_options(options, inputs), versions]
    # 12 digits, by which storage.published.ownership knows such a directory as raykd's.
    key = hashlib.sha256(json.dumps(state).encode()).hexdigest()[:12]
    return f"{_work_root(options.output_uri, is_shared=is_shared)}{key}"


def discard_useless_work(work_uri: str, inputs: Inputs) -> None:
    """Remove a work directory whose inputs are wrong: mended ones get another directory.

    What is not on this machine may be right, and have failed on its way.
    """
    if all(file.format is not None and uris.is_local(file.uri) for file in inputs.files):
        _discard(work_uri)


def remove_work(uri: str, *, is_shared: bool) -> None:
    """Remove all work directories of a published output, those of abandoned options too."""
    parent, _, beginning = _work_root(uri, is_shared=is_shared).rpartition("/")
    for name in uris.list_names(parent):
        where = uris.join(parent, name)
        if name.startswith(beginning) and ownership.is_scratch(where):
            _discard(where)


def _discard(work_uri: str) -> None:
    # What a task that is being ended writes meanwhile stays; raykd clean finds it.
    with suppress(StorageError):
        ownership.remove(work_uri)


def _work_root(uri: str, *, is_shared: bool) -> str:
    """Return the common beginning of the URIs of all work directories of an output."""
    if uris.is_local(uri):
        path = uris.real_path(uri)
        return str(path.with_name(f".{path.name}.prepare-"))
    if is_shared:
        parent, _, name = uri.rstrip("/").rpartition("/")
        return f"{parent}/.{name}.prepare-"
    # Parts of a remote output stay here: they would be uploaded only to be read back.
    digest = hashlib.sha256(uri.encode()).hexdigest()[:12]
    return str(Path(tempfile.gettempdir()) / f"raykd-prepare-{digest}-")


def _difference(manifest: Manifest, options: PrepareOptions, inputs: Inputs) -> str | None:
    """Say how a data set differs from what is asked for; None where it does not.

    It is the one that is asked for where its sources hold the same, wherever they lie, and where
    they lie at the same places, whatever they hold by now.
    """
    recorded = _flat(manifest.options)
    differing = [
        f"{name}: {recorded.get(name)!r}, not {value!r}"
        for name, value in _flat(_options(options)).items()
        if recorded.get(name) != value and not _PLACES.fullmatch(name)
    ]
    if differing:
        return f"holds data prepared with other options ({'; '.join(differing)})"
    if _is_current(manifest, inputs) or _recorded(manifest, "places") == inputs.record["places"]:
        return None
    return "was prepared from other sources"


def _is_current(manifest: Manifest, inputs: Inputs) -> bool:
    return all(_recorded(manifest, name) == inputs.record[name] for name in _CONTENTS)


def _recorded(manifest: Manifest, name: str) -> object:
    """Return what a data set says of its inputs; nothing where that is of another version."""
    inputs = manifest.options.get(_INPUTS)
    return inputs.get(name) if isinstance(inputs, dict) else None


def _options(options: PrepareOptions) -> dict[str, object]:
    recorded: dict[str, object] = json.loads(json.dumps(options.record()))
    return recorded


def _flat(nested: dict[str, object]) -> dict[str, object]:
    """Return the entries of nested mappings under dotted names."""
    flat: dict[str, object] = {}
    for name, value in nested.items():
        if isinstance(value, dict):
            flat.update({f"{name}.{inner}": one for inner, one in _flat(value).items()})
        else:
            flat[name] = value
    return flat
