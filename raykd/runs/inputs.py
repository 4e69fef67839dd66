"""The inputs of a run: where they lie, and what they hold, which names the run."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from raykd.config.identity import run_id
from raykd.config.inputs import DATA, Named, models_of, with_models
from raykd.config.schema.run import RunConfig
from raykd.config.schema.teachers import CacheConfig
from raykd.data.manifest import read_manifest
from raykd.errors import ConfigError, RaykdError
from raykd.models.fingerprint import fingerprints, hub_commit
from raykd.models.load import resolve_model
from raykd.models.locations import is_location
from raykd.storage import uris
from raykd.storage.published import layout

_SHOWN = 12
"""Characters of a fingerprint."""

_NEWEST = re.compile(rf"/{layout.CHECKPOINTS}/{layout.CHECKPOINT_PREFIX}[0-9]+/{layout.STUDENT}$")
"""What a run that has no model yet is replaced by."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What an input is, found where it is named."""

    fingerprint: str
    named: Named
    """The very one: of a run that still trains, its newest checkpoint; of a branch its commit."""


Find = Callable[[str, Named], Found | None]
"""From a key of a run and what it names to what is there, if that is known."""


def input_uris(config: RunConfig) -> dict[str, str]:
    """Return the keys of a run that name data or models, with what they name."""
    return {key: named.source for key, named in _named_inputs(config).items()}


def find_input(key: str, named: Named) -> Found | None:
    """Return what an input is; None for a name on the Hub whose commit nobody here knows.

    Raises:
        RaykdError: Nothing is there.
    """
    uri = named.source
    if key == DATA:
        return Found(fingerprint=read_manifest(uri).fingerprint, named=named)
    if not is_location(where := resolve_model(uri)):
        if (commit := hub_commit(uri, named.revision)) is None:
            return None
        return Found(fingerprint=f"{uri}@{commit}", named=Named(source=uri, revision=commit))
    if _NEWEST.fullmatch(where.removeprefix(uri.rstrip("/"))):
        named = Named(source=where)
    return Found(fingerprint=fingerprints(where).origin, named=named)


def with_absolute_paths(config: RunConfig) -> RunConfig:
    """Return the run with absolute local paths: workers have working directories of their own."""
    tracking, data = config.tracking, config.data
    if tracking.mlflow is not None:
        tracking = replace(tracking, mlflow=uris.absolute(tracking.mlflow))
    config = replace(
        config,
        output_uri=uris.absolute(config.output_uri),
        tracking=tracking,
        data=replace(data, uri=uris.absolute(data.uri)),
        teachers={
            name: replace(teacher, cache=_located_cache(teacher.cache))
            for name, teacher in config.teachers.items()
        },
    )
    models = {
        key: replace(model, source=located_model(model.source))
        for key, model in models_of(config).items()
    }
    return with_models(config, models)


def pinned(config: RunConfig, find: Find = find_input) -> RunConfig:
    """Return the run with absolute paths and what its inputs hold: all that its name follows from.

    What it says of inputs already stays.

    Args:
        config: The run.
        find: Finds inputs; one that remembers saves requests where many runs have the same.

    Raises:
        RaykdError: An input is not there.
    """
    config = with_absolute_paths(config)
    new = {
        key: input_
        for key, named in _named_inputs(config).items()
        if key not in config.inputs
        and (input_ := _looked_up(config, key, named, find)) is not None
    }
    # The very checkpoint or commit: a run that trains on moves its newest one.
    models = {key: new[key].named if key in new else m for key, m in models_of(config).items()}
    prints = {key: input_.fingerprint for key, input_ in new.items()}
    return replace(with_models(config, models), inputs=prints | config.inputs)


def _looked_up(config: RunConfig, key: str, named: Named, find: Find) -> Found | None:
    """Return what an input is; of a start that is gone, what a run that began there has noted."""
    try:
        return find(key, named)
    except RaykdError:
        if not key.startswith("student."):
            raise
        # All that began there agree on what it was: else nobody can say which of them this is.
        noted = {note[key] for note in _runs_alike(config).values() if key in note}
        if len(noted) != 1:
            raise
        return Found(fingerprint=noted.pop(), named=named)


def is_pinned(config: RunConfig) -> bool:
    """Tell whether a run says what all of its inputs hold."""
    return input_uris(config).keys() <= config.inputs.keys()


def changed_inputs(config: RunConfig) -> list[str]:
    """Say in a line each which inputs of a pinned run hold something else than they did.

    Raises:
        RaykdError: One is not there.
        ConfigError: The run has no such input.
    """
    config = with_absolute_paths(config)
    named = _named_inputs(config)
    if unknown := sorted(config.inputs.keys() - named.keys()):
        message = f"inputs.{unknown[0]}: the run has no such input; they are {', '.join(named)}"
        raise ConfigError(message)
    inputs = {key: find_input(key, named[key]) for key in config.inputs}
    prints = {key: input_.fingerprint for key, input_ in inputs.items() if input_ is not None}
    return _changes(config, before=config.inputs, after=prints, since="when the run was planned")


def check_inputs(config: RunConfig) -> None:
    """Compare the inputs of a run with the fingerprints that it was planned with, if any.

    Raises:
        ConfigError: One holds something else; the message names it.
    """
    if lines := changed_inputs(config):
        message = f"{lines[0]}. Start the same command again, or drop inputs from its file"
        raise ConfigError(message)


def written_inputs(config: RunConfig) -> bytes:
    """Return what a pinned run notes of its inputs, for runs of the same configuration."""
    given = {"configuration": _configuration(config), "inputs": config.inputs}
    return json.dumps(given, indent=1).encode()


def other_runs(config: RunConfig) -> list[str]:
    """Say which runs have the configuration of a pinned run, of other content at the same places.

    Each is one line.
    """
    mine = uris.join(config.output_uri, run_id(config))
    return [
        line
        for run, inputs in _runs_alike(config).items()
        if run != mine
        for line in _changes(
            config,
            before=inputs,
            after=config.inputs,
            since=f"for the run {run} of the same configuration",
        )
    ]


def _runs_alike(config: RunConfig) -> dict[str, dict[str, str]]:
    """Return the runs of the same configuration, with the fingerprints of their inputs."""
    beside = re.compile(rf"{re.escape(config.name)}-[0-9a-f]{{8}}")
    names = filter(beside.fullmatch, uris.list_names(config.output_uri))
    runs = {uris.join(config.output_uri, name, layout.INPUTS): name for name in names}
    mine, inputs = _configuration(config), {}
    for uri, text in uris.read_many(list(runs)).items():
        note = json.loads(text)
        if note["configuration"] == mine:
            inputs[uris.join(config.output_uri, runs[uri])] = note["inputs"]
    return inputs


def _changes(
    config: RunConfig, *, before: Mapping[str, str], after: Mapping[str, str], since: str
) -> list[str]:
    """Say in a line each which inputs have another fingerprint than before."""
    return [
        f"{key}: {uri} holds other {'data' if key == DATA else 'weights'} than {since}: "
        f"{two_prints(before[key], after[key])}"
        for key, uri in input_uris(config).items()
        if key in before and key in after and before[key] != after[key]
    ]


def two_prints(before: str, after: str) -> str:
    """Say what the fingerprint of an input was and is."""
    return f"its fingerprint was {_shown(before)} and is {_shown(after)}"


def _shown(fingerprint: str) -> str:
    """Shorten a hash; a run and its step are told in full."""
    return fingerprint if "/" in fingerprint else fingerprint[:_SHOWN]


def _named_inputs(config: RunConfig) -> dict[str, Named]:
    return {DATA: Named(source=config.data.uri), **models_of(config)}


def _configuration(config: RunConfig) -> str:
    """Return a hash of a run that names places instead of what lies there."""
    # Without the step: runs that began at other checkpoints of one run are alike.
    places = {key: _NEWEST.sub("", uri) for key, uri in input_uris(config).items()}
    return run_id(replace(config, inputs=places))


def _located_cache(cache: CacheConfig | None) -> CacheConfig | None:
    if cache is None or cache.uri is None:
        return cache
    return replace(cache, uri=uris.absolute(cache.uri))


def located_model(model: str) -> str:
    """Return the absolute path of a model that is here; any other is a name on the Hub."""
    return uris.absolute(model) if "://" not in model and uris.exists(model) else model
