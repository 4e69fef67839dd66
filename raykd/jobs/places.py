"""The files that a command reads, and the places it names that only its submitter has."""

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from raykd.config.given import is_yaml, places_and_overrides
from raykd.config.kinds import is_sweep
from raykd.config.load import load_run, load_sweep, plain
from raykd.config.named_runs import named_runs
from raykd.config.schema.sweep import SweepConfig
from raykd.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Configuration:
    """What a command is told by its files and overrides."""

    study: str
    """The name of the run or sweep, or what lies where the command writes or reads."""

    paths: tuple[Path, ...] = ()
    """Configuration files, the one that the command names first."""

    relative: tuple[str, ...] = ()
    """Places that depend on the directory of the command, as KEY=VALUE."""


def configuration(parsed: argparse.Namespace) -> Configuration:
    """Return what a command that may be submitted reads, and where it writes.

    Raises:
        ConfigError: A file is wrong.
    """
    if parsed.command == "prepare":
        return _of_place("--output", parsed.output)
    if parsed.command != "report":
        return _of_file(parsed.config, parsed.overrides)
    output = _told([("--output", parsed.output)] if parsed.output else [])
    others, overrides = places_and_overrides(parsed.overrides)
    sweeps = [
        _of_file(Path(named), overrides) if is_yaml(named) else _of_place("SWEEP", named)
        for named in (parsed.sweep, *others)
    ]
    return Configuration(
        study=sweeps[0].study,
        paths=tuple(path for sweep in sweeps for path in sweep.paths),
        relative=(*(place for sweep in sweeps for place in sweep.relative), *output),
    )


def require_reachable(relative: Sequence[str], *, address: str) -> None:
    """Check that a job on other machines names no place relative to its directory.

    Raises:
        ConfigError: It does.
    """
    if not relative:
        return
    message = (
        f"{', '.join(relative)}: is relative to the directory of the job, which on {address} is "
        "an unpacked package that is thrown away; give places that all machines there reach, "
        "such as output_uri=s3://bucket/runs"
    )
    raise ConfigError(message)


def _of_place(key: str, uri: str) -> Configuration:
    return Configuration(study=PurePosixPath(uri).name, relative=_told([(key, uri)]))


def _of_file(path: Path, overrides: Sequence[str]) -> Configuration:
    if not is_sweep(path):
        run = load_run(path, overrides)
        relative = _told(_places_of_run(plain(run)))
        return Configuration(study=run.name, paths=(path,), relative=relative)
    sweep = load_sweep(path, overrides)
    files = dict.fromkeys(Path(run.path) for run in named_runs(sweep).values())
    return Configuration(
        study=sweep.name,
        paths=(path, *files),
        relative=_told(_places_of_sweep(sweep)),
    )


def _told(places: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(f"{key}={uri}" for key, uri in places if _is_relative(uri)))


def _is_relative(uri: str) -> bool:
    return "://" not in uri and not Path(uri).is_absolute()


def _places_of_sweep(sweep: SweepConfig) -> Iterator[tuple[str, str]]:
    yield "output_uri", sweep.output_uri
    if sweep.runs_uri is not None:
        yield "runs_uri", sweep.runs_uri
    yield from _models(plain(sweep))
    for run in named_runs(sweep).values():
        given = run.mapping()
        if run.key == "base" and sweep.teachers:
            # The sweep's own take their place.
            given.pop("teachers", None)
        places = dict(_places_of_run(given))
        if sweep.runs_uri is not None:
            # runs_uri takes the place of every run's own.
            del places["output_uri"]
        yield from places.items()


def _places_of_run(run: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield where a run reads and writes; files may leave out what is as by default."""
    yield "output_uri", run.get("output_uri", "runs")
    for section, key in (("data", "uri"), ("tracking", "mlflow")):
        if uri := (run.get(section) or {}).get(key):
            yield f"{section}.{key}", uri
    student = run.get("student") or {}
    models = {"student.pretrained": student.get("pretrained")}
    for method, init in (student.get("init") or {}).items():
        models[f"student.init.{method}.source"] = (init or {}).get("source")
    yield from ((key, model) for key, model in models.items() if model and _is_here(model))
    yield from _models(run)


def _models(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, teacher in (given.get("teachers") or {}).items():
        if (model := teacher.get("model")) and _is_here(model):
            yield f"teachers.{name}.model", model
        if uri := (teacher.get("cache") or {}).get("uri"):
            yield f"teachers.{name}.cache.uri", uri


def _is_here(model: str) -> bool:
    """Tell whether a model is a directory here; else it is a name on the Hub, or a URI."""
    return "://" not in model and Path(model).exists()
