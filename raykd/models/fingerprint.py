"""What a model is known by: the bytes that it computes from, or the run and step that made it.

Where it lies, how that is written and what else lies there do not count.
"""

import functools
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError

from raykd.errors import ModelError, PublicationError
from raykd.models.files import CONFIG_FILE
from raykd.models.load import resolve_model
from raykd.storage import uris
from raykd.storage.published import layout
from raykd.storage.published.directory import read_published
from raykd.storage.remote.digests import stored_digest

RUN, STEP = "run", "step"
"""What the manifest of a checkpoint or of an exported model says of its origin."""

BEST: Literal["best"] = "best"
"""Stands for the step in the origin of a model whose step is known after training only."""

_KEPT = "kept"
"""What the manifest of such a model says beside its step."""

_WEIGHTS = ".safetensors"
_WITHOUT_EFFECT = ("_name_or_path", "transformers_version")
"""Fields of a configuration that say where it was, and who wrote it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fingerprints:
    """Two ways to know a model."""

    weights: str
    """Hash of its weights and its configuration."""

    made_by: str | None
    """The run and the step that made it, which are known before it is there; None where no
    manifest says so, or the files are others by now."""

    @property
    def origin(self) -> str:
        """What decides the model, as far as that is known."""
        return self.made_by or self.weights


def origin_of(run: str, step: int | Literal["best"]) -> str:
    """Return what a model is known by that a run makes; its name is a hash of what it computes."""
    return f"{run}/{step}"


def stated_origin(run: str, step: int, *, keep: Literal["last", "best"]) -> dict[str, object]:
    """Return what the manifest of an exported model says of its origin.

    Args:
        run: Name of the run.
        step: Step of the weights.
        keep: The run's ``train.keep``.
    """
    return {RUN: run, STEP: step} | ({_KEPT: BEST} if keep == BEST else {})


@functools.cache
def hub_commit(source: str, revision: str | None) -> str | None:
    """Return the commit that a name on the Hub stands for; None where nobody here knows.

    A process asks once: one that does not reach the Hub tries for half a minute, and what is one
    run all the while must have one name.
    """
    try:
        path = hf_hub_download(source, CONFIG_FILE, revision=revision)
    except (OSError, ValueError, HfHubHTTPError):
        return None
    # .../snapshots/COMMIT/config.json
    return Path(path).parent.name


def fingerprints(source: str) -> Fingerprints:
    """Return what a model in a directory, or at a URI, is known by.

    Files on this machine are read, whatever a manifest says of them; of what was published in a
    store, the manifest is believed.

    Raises:
        RaykdError: No model is there.
    """
    where = resolve_model(source)
    if CONFIG_FILE not in (names := uris.list_names(where)):
        message = f"{source}: holds no model: there is no {CONFIG_FILE}"
        raise ModelError(message)
    text = uris.read_bytes(uris.join(where, CONFIG_FILE))
    origin, recorded = _published(where)
    files = recorded if recorded and not uris.is_local(where) else _weights(where, names)
    present = {**files, CONFIG_FILE: hashlib.sha256(text).hexdigest()}
    decisive = [_configuration(text, source), {**present, CONFIG_FILE: None}]
    return Fingerprints(
        weights=hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest(),
        # Changed since it was published, a model is known by its bytes alone.
        made_by=origin if present == recorded else None,
    )


def _weights(where: str, names: list[str]) -> dict[str, str]:
    files = [name for name in names if name.endswith(_WEIGHTS)]
    return {name: stored_digest(uris.join(where, name)) for name in files}


def _published(where: str) -> tuple[str | None, dict[str, str]]:
    """Return the run and step of a model, and the hashes of its files, as its manifest says."""
    parent, _, name = where.rstrip("/").rpartition("/")
    for uri, kind, folder in (
        (where, layout.MODEL_KIND, ""),
        # A checkpoint publishes the student's folder together with its own state.
        (parent, layout.CHECKPOINT_KIND, f"{name}/"),
    ):
        try:
            published = read_published(uri, kind=kind)
        except PublicationError:
            continue
        content = published.content
        origin = None
        if {RUN, STEP} <= content.keys():
            origin = origin_of(content[RUN], content.get(_KEPT, content[STEP]))
        hashes = {
            path.removeprefix(folder): file["sha256"]
            for path, file in published.files.items()
            if path.startswith(folder)
        }
        return origin, {
            name: digest
            for name, digest in hashes.items()
            if name == CONFIG_FILE or (name.endswith(_WEIGHTS) and "/" not in name)
        }
    return None, {}


def _configuration(text: bytes, source: str) -> object:
    """Return what a configuration says of the model itself."""
    try:
        given = json.loads(text)
    except ValueError as error:
        message = f"{source}: {CONFIG_FILE} is no JSON: {error}"
        raise ModelError(message) from error
    if not isinstance(given, dict):
        return given
    return {name: value for name, value in given.items() if name not in _WITHOUT_EFFECT}
