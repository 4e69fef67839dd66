"""What the inputs of a run hold, as fingerprints: other data or weights are another run."""

import hashlib
import re

from raykd import storage
from raykd.config.schema.run import RunConfig
from raykd.data.manifest import read_manifest
from raykd.errors import ConfigError, ModelError
from raykd.models.files import CONFIG_FILE
from raykd.models.load import resolve_model
from raykd.published.directory import COMMITTED

_DATA = "data.uri"
_READ = (CONFIG_FILE, ".safetensors")
_CHECKPOINT = re.compile(r"(?P<run>[^/]+)/checkpoints/(?P<step>step-[0-9]+)/?$")


def input_uris(config: RunConfig) -> dict[str, str]:
    """Return the keys of a run that name data or models, with what they name.

    Names on the Hub are left out: their ``revision`` says what they hold.
    """
    named: dict[str, str | None] = {
        f"teachers.{name}.model": teacher.model for name, teacher in config.teachers.items()
    }
    named["student.pretrained"] = config.student.pretrained
    if (init := config.student.init) is not None and init.method.source not in config.teachers:
        named[f"student.init.{init.name}.source"] = init.method.source
    here = {k: uri for k, uri in named.items() if uri is not None and _is_stored(uri)}
    return {_DATA: config.data.uri} | here


def input_fingerprint(key: str, uri: str) -> str:
    """Return a hash of what an input holds; of a checkpoint the run and the step that made it.

    Raises:
        RaykdError: Nothing is there.
    """
    if key == _DATA:
        return read_manifest(uri).fingerprint
    return _model_fingerprint(uri)


def check_inputs(config: RunConfig) -> None:
    """Compare the inputs of a run with the fingerprints that it was planned with, if any.

    Raises:
        ConfigError: One holds something else; the message names it.
    """
    uris = input_uris(config)
    for key, planned in config.inputs.items():
        if key not in uris:
            message = f"inputs.{key}: the run has no such input; they are {', '.join(uris)}"
            raise ConfigError(message)
        if (found := input_fingerprint(key, uris[key])) != planned:
            message = (
                f"{key}: {uris[key]} holds something else than when the run was planned: its "
                f"fingerprint was {planned[:12]} and is {found[:12]}. Plan again, or drop inputs"
            )
            raise ConfigError(message)


def _is_stored(uri: str) -> bool:
    return "://" in uri or uri.startswith("/") or storage.exists(uri)


def _model_fingerprint(source: str) -> str:
    if named := _CHECKPOINT.search(source):
        # The name of a run is a hash of all that decides what it computes.
        return f"{named['run']}/{named['step']}"
    where = resolve_model(source)
    try:
        return storage.read_bytes(storage.join(where, COMMITTED)).decode().strip()
    except FileNotFoundError:
        names = _names(where)
        if CONFIG_FILE not in names:
            message = f"{source}: holds no model: there is no {CONFIG_FILE}"
            raise ModelError(message) from None
        digest = hashlib.sha256()
        for name in names:
            digest.update(name.encode())
            digest.update(storage.read_bytes(storage.join(where, name)))
        return digest.hexdigest()


def _names(where: str) -> list[str]:
    """Name the files of a model that say what it computes."""
    return [name for name in storage.list_names(where) if name.endswith(_READ)]
